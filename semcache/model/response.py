"""What a caller is told of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from semcache.model.answer import Answer
from semcache.model.decision import GuardVerdict
from semcache.model.entry import Lease
from semcache.model.ledger import ServedHit
from semcache.model.money import NO_COST, NO_USAGE, Cost, Usage
from semcache.model.request import NO_TASK, Task
from semcache.model.status import Status


class Response(NamedTuple):
    """What the cache answers, and why.

    Attributes:
        reason: why, a stable snake_case token.
        answer: None for a lookup that missed, and before a live stream.
        detail: the reason as a sentence for a person.
        similarity: of the entry that was served, or of the nearest one; None where nothing was compared.
        stages: (name, seconds) of each stage, in their order.
        stale_s: seconds since the answer expired; None unless the status is STALE.
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
    stale_s: float | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The first frame of a streamed answer: how the request will be answered."""

    response: Response


@dataclass(frozen=True, slots=True)
class Finished:
    """The last frame of a streamed answer: usage, cost and times."""

    response: Response


class LookupResult(NamedTuple):
    """What a lookup brings.

    Attributes:
        response: the outcome; its answer is None for a miss.
        lookup_id: names a miss for a later Store; empty for a hit.
        lease: the right to generate the answer; None where none was asked for or another caller holds it.
    """

    response: Response
    lookup_id: str = ""
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class VerdictOutcome:
    """What a reported verdict did.

    Attributes:
        served: the hit that was judged.
        removed: the verdict was "wrong" and the entry is no longer in the store.
    """

    served: ServedHit
    removed: bool


@dataclass(frozen=True, slots=True)
class Invalidated:
    """What an invalidation names.

    Attributes:
        count: the live entries that it names. They are gone if it was applied.
        generation: the number of invalidations that this process has applied, this one included.
    """

    count: int
    generation: int
