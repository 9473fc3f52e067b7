"""Candidates, what guards and policy say of them, and the decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from semcache.model.entry import Entry
from semcache.model.request import KeyedRequest
from semcache.model.status import Status


class Neighbour(NamedTuple):
    """An entry near a vector. Similarity is the exact cosine."""

    entry_id: int
    similarity: float


class Effect(StrEnum):
    """What a guard's finding does to a candidate."""

    VETO = "veto"
    FEATURE = "feature"
    PASS = "pass"  # noqa: S105 - a verdict


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """One guard's finding on one candidate.

    `adjustment` is what a FEATURE adds to the candidate's score, in units of the cosine; 0 for PASS and VETO.
    """

    guard: str
    effect: Effect
    detail: str = ""
    adjustment: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate as the decision sees it: the stored entry and its cosine to the request."""

    entry: Entry
    similarity: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """Why a candidate was or wasn't served. `reason` is a stable snake_case token.

    `score` is the similarity with the guards' adjustments, at most 1: what the threshold is held against. None: too far
    away for any adjustment to matter, so the guards weren't asked.
    """

    candidate: Candidate
    served: bool
    reason: str
    verdicts: tuple[GuardVerdict, ...] = ()
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with the candidates of one request; at most one judgement is served."""

    judgements: tuple[Judgement, ...]
    reason: str
    threshold: float

    @property
    def served(self) -> Judgement | None:
        """The candidate to serve, or None."""
        return next((j for j in self.judgements if j.served), None)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen to a request, and why; nothing was served, stored or counted."""

    request_id: str
    keyed: KeyedRequest
    status: Status
    reason: str
    decision: Decision | None
    exact_entry_id: int
    partition_entries: int
    embedded_tokens: int
    models: tuple[str, ...] = ()
    """Those that a call could be sent to now, the likeliest first."""
    detail: str = ""
    """The reason as a sentence for a person."""
