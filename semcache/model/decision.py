"""Candidates, the evidence on each, the judgements of guards and policy, and the decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from semcache.model.entry import Entry
from semcache.model.request import KeyedRequest
from semcache.model.status import Status

FLOAT_SLACK = 1e-6
"""Cosine by which a score may miss its threshold: the cosine of equal vectors may be computed as 0.9999999."""
MAX_SIMILARITY = 1.01
"""The largest product that two whole unit vectors have, with their rounding; from 1 on it counts as 1. Embedders are
held to lengths within 0.001 of 1. A larger product, or none that is a number, comes of a damaged vector."""


class Neighbour(NamedTuple):
    """An entry near a vector. Similarity is the exact cosine."""

    entry_id: int
    similarity: float


class Effect(StrEnum):
    """What a guard's verdict does to a candidate: veto it, change its score, or nothing."""

    VETO = "veto"
    FEATURE = "feature"
    PASS = "pass"  # noqa: S105 - a verdict


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """One guard's verdict on one candidate.

    `adjustment` is what a FEATURE adds to the candidate's score, in units of the cosine; 0 for PASS and VETO.
    """

    guard: str
    effect: Effect
    detail: str = ""
    adjustment: float = 0.0


def is_vetoed(verdicts: Iterable[GuardVerdict]) -> bool:
    """Return whether one of a pair's verdicts is a veto."""
    return Effect.VETO in [verdict.effect for verdict in verdicts]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored entry with its cosine to the request."""

    entry: Entry
    similarity: float


@dataclass(frozen=True, slots=True)
class Bound:
    """The score that a candidate must reach, and the rule that set it (a stable snake_case token)."""

    threshold: float
    rule: str

    def admits(self, score: float) -> bool:
        """Return whether a score reaches the threshold, up to `FLOAT_SLACK`."""
        return score >= self.threshold - FLOAT_SLACK


class AlignmentCounts(NamedTuple):
    """How many content words of a request and an entry are counterparts, and how.

    Attributes:
        matched: pairs of counterparts, those of the next three kinds included.
        asked_only: words of the request without a counterpart.
        stored_only: words of the entry without a counterpart.
        slips: counterparts that differ by a typing slip.
        synonyms: counterparts that are synonyms.
        opposites: counterparts that are opposites.
        relinked: counterparts with different links, such as "from" and "to".
        moved: whether counterparts are in another order.
    """

    matched: int = 0
    asked_only: int = 0
    stored_only: int = 0
    slips: int = 0
    synonyms: int = 0
    opposites: int = 0
    relinked: int = 0
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a candidate is served, and why. `reason` is a stable snake_case token.

    `score` is the similarity with the guards' adjustments, at most 1; the threshold is compared with it. None: no
    adjustment could have lifted the candidate over the threshold, so no guard was asked.

    `barred` says that its entry may not be served whatever its score. `probability` is the judge's, that its answer
    serves the request; None where the judge told none.
    """

    candidate: Candidate
    served: bool
    reason: str
    verdicts: tuple[GuardVerdict, ...] = ()
    score: float | None = None
    barred: bool = False
    probability: float | None = None

    @property
    def is_vetoed(self) -> bool:
        """Whether a guard vetoes the candidate."""
        return is_vetoed(self.verdicts)


class Evidence(NamedTuple):
    """What the decision knows of one candidate, and what the request demands of it.

    Attributes:
        candidate: the entry and its similarity.
        bound: the score that the request demands.
        rank: 0 for the nearest candidate, 1 for the next, and so on.
        margin: how much its similarity exceeds that of the next candidate; None for the last candidate.
        verdicts: the guards' verdicts with their adjustments, in the guards' order.
        score: the similarity with all adjustments, at most 1.
        asked_chars: length of the request's compared text.
        stored_chars: length of the entry's text.
        count_alignment: computes `alignment`.
    """

    candidate: Candidate
    bound: Bound
    rank: int
    margin: float | None
    verdicts: tuple[GuardVerdict, ...]
    score: float
    asked_chars: int
    stored_chars: int
    count_alignment: Callable[[], AlignmentCounts]

    @property
    def entry(self) -> Entry:
        """The candidate's entry."""
        return self.candidate.entry

    @property
    def similarity(self) -> float:
        """The candidate's cosine to the request."""
        return self.candidate.similarity

    @property
    def is_vetoed(self) -> bool:
        """Whether a guard vetoes the candidate."""
        return is_vetoed(self.verdicts)

    @property
    def alignment(self) -> AlignmentCounts:
        """How the words of the two texts align, computed only when asked for; all 0 where no guard read the texts."""
        return self.count_alignment()

    def judgement(self, reason: str, *, served: bool, barred: bool = False) -> Judgement:
        """Return a judgement that rests on this evidence."""
        return Judgement(self.candidate, served, reason, self.verdicts, self.score, barred=barred)


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision over the candidates of one request; at most one judgement is served.

    Attributes:
        judgements: of the judged candidates, nearest first.
        reason: why a candidate is served, else why the nearest one isn't (a stable snake_case token). Where the judge
            was asked, what came of that.
        threshold: the score that the request demanded.
        rule: the rule that set the threshold (a stable snake_case token).
    """

    judgements: tuple[Judgement, ...]
    reason: str
    threshold: float
    rule: str = ""

    @property
    def served(self) -> Judgement | None:
        """The judgement of the candidate to serve, or None."""
        return next((judgement for judgement in self.judgements if judgement.served), None)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen to a request, and why. Nothing is served, stored or counted for it.

    Attributes:
        request_id: the id of the call that explains.
        keyed: the request.
        status: the status that the request would have.
        reason: why (a stable snake_case token).
        decision: the decision over its candidates; None where nothing is compared.
        exact_entry_id: the entry under its exact key; 0 for none.
        partition_entries: entries in its partitions.
        embedded_tokens: tokens of the compared text; 0 where nothing is compared.
        models: the models that a call could be sent to now, the likeliest first.
        detail: the reason as a sentence for a person.
    """

    request_id: str
    keyed: KeyedRequest
    status: Status
    reason: str
    decision: Decision | None
    exact_entry_id: int
    partition_entries: int
    embedded_tokens: int
    models: tuple[str, ...] = ()
    detail: str = ""
