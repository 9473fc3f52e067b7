"""Ledger lines, their rollup by the hour, and hits as they were served."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from semcache.model.money import Cost, Usage
from semcache.model.status import HIT_STATUSES, Status


class Purpose(StrEnum):
    """What a ledger line is about."""

    REQUEST = "request"
    DEPOSIT = "deposit"
    """A caller's Store: what its own stack spent. Its Lookup was the request."""
    WRONG_HIT = "wrong_hit"
    """A verdict that a hit was wrong, with what a wrong answer costs as its overhead."""
    VERIFIER = "verifier"
    """A second model's opinion on an answer."""
    LOST_ANSWER = "lost_answer"
    """An answer that was charged and couldn't be used, so that the upstream was asked again."""
    JUDGE = "judge"
    """A model's opinion on which stored answer serves a request."""

    __hash__ = str.__hash__


OWN_CALLS = frozenset({Purpose.VERIFIER, Purpose.JUDGE})
"""The purposes of calls that the cache makes for itself: without a cache nobody would pay them."""


class LedgerRecord(NamedTuple):
    """One ledger line.

    Attributes:
        request_id: sorts by time.
        at_s: when it was made, wall-clock seconds.
        spent: what the upstream charged for the request; counted once per upstream call.
        saved: what the upstream would have charged, had the cache not answered.
        entry_id: of the entry that was served; 0 for none.
        latency_s: seconds from the request to its end.
        requests: 1, or 0 for a line whose request has another line; `purpose` then says what it is about.
        overhead_nanousd: what semcache's own work on it costs at the configured rates.
        route: the target that answered, or had produced the answer; empty for none and for a caller's own stack.
    """

    request_id: str
    at_s: float
    tenant: str
    namespace: str
    alias: str
    model: str
    task_type: str
    status: Status
    usage: Usage
    spent: Cost
    saved: Cost
    entry_id: int = 0
    similarity: float | None = None
    latency_s: float = 0.0
    requests: int = 1
    overhead_nanousd: int = 0
    route: str = ""
    degraded: bool = False
    purpose: Purpose = Purpose.REQUEST

    @property
    def own_call_nanousd(self) -> int:
        """What was spent on a call that the cache made for itself, nanodollars; 0 for any other line."""
        return self.spent.total_nanousd if self.purpose in OWN_CALLS else 0

    @property
    def uses_entry(self) -> bool:
        """Whether this is the line of a hit on the entry `entry_id`."""
        return self.entry_id > 0 and self.requests > 0 and self.status in HIT_STATUSES


@dataclass(frozen=True, slots=True)
class LedgerHour:
    """Sums of the lines of one hour, tenant, model, task type and status. The hour is in wall-clock seconds.

    `own_calls_nanousd` is the part of what was spent that went to the cache's own calls, a verifier's or a judge's.
    """

    hour_s: int
    tenant: str
    model: str
    task_type: str
    status: Status
    requests: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    spent_input_nanousd: int = 0
    spent_cached_input_nanousd: int = 0
    spent_output_nanousd: int = 0
    saved_nanousd: int = 0
    unpriced: int = 0
    estimated: int = 0
    cache_write_tokens: int = 0
    overhead_nanousd: int = 0
    wrong_hits: int = 0
    partly_priced: int = 0
    own_calls_nanousd: int = 0

    @property
    def spent_nanousd(self) -> int:
        """What was spent, nanodollars."""
        return self.spent_input_nanousd + self.spent_cached_input_nanousd + self.spent_output_nanousd


class ServedHit(NamedTuple):
    """A hit as it was served, kept so that a later verdict can be tied to it.

    Attributes:
        hit_id: the request's id.
        text: the request's compared text; empty for an exact hit.
        at_s: when it was served, wall-clock seconds.
        vector: the request's embedding as float16 bytes, 2 × dimension; empty for an exact hit.
        verdict: what a caller reported: `right`, `wrong`, or empty.
        entry_key: exact key of the request that the entry was made for; empty where an older semcache served the hit.
        probability: the judge's, that the answer serves the request; 0 where it told none, or wasn't asked.
    """

    hit_id: str
    tenant: str
    entry_id: int
    status: Status
    exact_key: bytes
    text: str
    similarity: float
    at_s: float
    vector: bytes = b""
    verdict: str = ""
    entry_key: bytes = b""
    probability: float = 0.0
