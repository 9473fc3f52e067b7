"""How a flight can end: with an entry that was found, with the upstream's answer, with a stale one, or with nothing."""

from __future__ import annotations

from dataclasses import dataclass

from semcache.model import Answer, Cost, Decision, Entry, Status, Task, Vector


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that the decision allows.

    Attributes:
        entry: the entry.
        decision: why it may be served.
        vector: the request's embedding, unit length, shape (dimension,).
        status: SEMANTIC_HIT; COALESCED when the entry was made while the flight waited for a paraphrase in flight.
    """

    entry: Entry
    decision: Decision
    vector: Vector
    status: Status = Status.SEMANTIC_HIT


@dataclass(frozen=True, slots=True)
class Fetched:
    """The upstream's answer, booked, and stored unless `store_reason` says why not.

    Attributes:
        status: MISS, BYPASS or REFRESH.
        reason: why the upstream was asked, a stable token.
        entry_id: 0 when the answer wasn't stored.
        decision: what the semantic tier said before.
        task: what is known of the request's task.
    """

    status: Status
    answer: Answer
    cost: Cost
    entry_id: int
    store_reason: str
    reason: str
    decision: Decision | None
    task: Task


@dataclass(frozen=True, slots=True)
class Stale:
    """An entry under the request's exact key that has expired, since the upstream can't be reached.

    Attributes:
        entry: the entry.
        reason: why the upstream's call failed, a stable token.
        failure: the same as a sentence.
    """

    entry: Entry
    reason: str
    failure: str


@dataclass(frozen=True, slots=True)
class NotCached:
    """No answer: the cache holds none, and the caller allows no other source."""

    decision: Decision | None


Outcome = Found | Fetched | Stale | NotCached
