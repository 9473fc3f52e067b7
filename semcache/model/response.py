"""What a caller is told of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from semcache.model.answer import Answer
from semcache.model.decision import GuardVerdict
from semcache.model.money import NO_COST, NO_USAGE, Cost, Usage
from semcache.model.request import NO_TASK, Task
from semcache.model.status import Status


class Response(NamedTuple):
    """What the cache answers, and why.

    `answer` is None only for a lookup that missed. `stages` are (name, seconds). `reason` is a stable snake_case token,
    `detail` the sentence for a person.
    """

    status: Status
    reason: str
    alias: str
    answer: Answer | None = None
    detail: str = ""
    entry_id: int = 0
    similarity: float | None = None
    verdicts: tuple[GuardVerdict, ...] = ()
    effective_threshold: float | None = None
    usage: Usage = NO_USAGE
    cost: Cost = NO_COST
    saved: Cost = NO_COST
    stored: bool = False
    store_reason: str = ""
    task: Task = NO_TASK
    request_id: str = ""
    hit_id: str = ""
    age_s: float | None = None
    stages: tuple[tuple[str, float], ...] = ()

    @property
    def lasting(self) -> tuple[object, ...]:
        """All before `request_id`: what is the same each time that one entry is served to one request."""
        return self[:_LASTING]


_LASTING = Response._fields.index("request_id")


@dataclass(frozen=True, slots=True)
class Started:
    """The first frame of a stream: how the request will be answered."""

    response: Response


@dataclass(frozen=True, slots=True)
class Finished:
    """The last frame of a stream: what it took."""

    response: Response
