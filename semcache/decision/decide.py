"""Decide over the candidates of one request, nearest first, and serve the first that passes everything."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import structlog

from semcache.decision.guards import GUARDS, Guard, passed
from semcache.decision.pair import Pair
from semcache.decision.policies import Policy, policy_of
from semcache.decision.reading import Reading, read
from semcache.decision.repeats import Repeats
from semcache.errors import SettingsError
from semcache.model import (
    FLOAT_SLACK,
    MAX_SIMILARITY,
    AlignmentCounts,
    Bound,
    Candidate,
    Decision,
    Effect,
    Entry,
    Evidence,
    GuardVerdict,
    Judgement,
    KeyedRequest,
    Vector,
)
from semcache.settings import DecisionSettings
from semcache.text import lexicon

_log = structlog.get_logger(__name__)
_MAX_READINGS = 512
"""Readings kept in memory, a few kilobytes each."""
_UNREADABLE = Reading({})
"""The reading of a text on which a guard failed. A pair with such a text is vetoed."""
_NO_CANDIDATES = "empty_partition"
"""The reason of a decision without candidates."""
_FAILED = "failed"
"""The guard's name in the verdict where a guard failed."""
_FAILURE = (GuardVerdict(_FAILED, Effect.VETO, "a guard failed on this pair, see the log"),)

Unservable = Callable[[Entry], str]
"""Returns why an entry may not be served whatever its similarity; empty when it may."""


class Decider:
    """Judges candidates with guards and a policy. No decision changes its state."""

    def __init__(
        self, settings: DecisionSettings, *, policy: Policy | None = None, repeats: Repeats | None = None
    ) -> None:
        """Set up the guards and the policy that `settings` name.

        Args:
            settings: the guards, the policy and its thresholds.
            policy: the policy to use instead of the one that `settings` name.
            repeats: how often requests of a namespace come again; None: nothing is known of any.

        Raises:
            SettingsError: there is no such guard, or no such policy.
        """
        unknown = [name for name in settings.guards if name not in GUARDS]
        if unknown:
            known = ", ".join(GUARDS)
            raise SettingsError([f"decision.guards: there is no guard {name!r}, only {known}" for name in unknown])
        self.repeats = repeats or Repeats()
        """Where requests seldom repeat others, which the policy may ask. The story tells it of each request."""
        self._policy = policy or policy_of(settings, self.repeats)
        self._grey_from = settings.verifier.from_similarity if settings.verifier.route else math.inf
        self._guards: Sequence[Guard] = [GUARDS[name] for name in settings.guards]
        self._max_lift = sum(guard.max_lift for guard in self._guards)
        # Of each guard: its comparison; the feature that, when equal, makes it pass, or ""; its passing verdict.
        self._checks = [
            (guard.compare, guard.feature if guard.passes_equal else "", passed(guard.name)) for guard in self._guards
        ]
        self._features = read("", self._guards).features.keys()
        # The text of a miss is read twice: when its candidates are judged, and when its answer is stored.
        self._readings = lru_cache(_MAX_READINGS)(self._read_text)
        if self._guards:
            lexicon.load_english()  # At the start, so that the first request doesn't wait for it.

    def threshold(self, keyed: KeyedRequest) -> float:
        """Return the score that a request demands."""
        return self._policy.bound(keyed.request).threshold

    def least_similarity(self, keyed: KeyedRequest) -> float:
        """Return the similarity below which no guard can lift a candidate over the request's threshold."""
        return self.threshold(keyed) - FLOAT_SLACK - self._max_lift

    def least_judged(self, keyed: KeyedRequest) -> float:
        """Return the similarity from which candidates are judged: the grey zone lies below `least_similarity`."""
        return min(self.least_similarity(keyed), self._grey_from)

    def read(self, text: str) -> Reading:
        """Return the reading of a text, for `compare_readings`."""
        return self._readings(text)

    def features(self, text: str) -> Mapping[str, tuple[str, ...]]:
        """Return the features of a text, to be stored with its entry; none where a guard fails on it."""
        return self.read(text).features

    def compare(self, asked: str, stored: str, similarity: float) -> tuple[float, tuple[GuardVerdict, ...]]:
        """Return the score and the verdicts that `decide` gives a pair of texts, for evaluation and tuning."""
        return self.compare_readings(self.read(asked), self.read(stored), similarity)

    def compare_readings(
        self, asked: Reading, stored: Reading, similarity: float
    ) -> tuple[float, tuple[GuardVerdict, ...]]:
        """Return the score and the verdicts on two readings, by `read` or as `Reading(entry.features)`."""
        verdicts = self._ask_guards(Pair(asked, stored))
        return score_of(similarity, verdicts), verdicts

    def decide(
        self, keyed: KeyedRequest, candidates: Sequence[Candidate], vector: Vector, unservable: Unservable
    ) -> Decision:
        """Judge candidates until one is served or no later one can reach the threshold or lies in the grey zone.

        Args:
            keyed: the request.
            candidates: nearest first.
            vector: the request's embedding, shape (dimension,).
            unservable: says why an entry may not be served whatever its similarity (too old, a model that is no longer
                routed); empty when it may.
        """
        bound = self._policy.bound(keyed.request)
        judgements: list[Judgement] = []
        for rank, candidate in enumerate(candidates):
            admitted = bound.admits(candidate.similarity + self._max_lift) or candidate.similarity >= self._grey_from
            if not admitted and not _impossible(candidate):
                # No guard can lift it over the threshold, nor any candidate after it, which is further away.
                judgements.append(Judgement(candidate, served=False, reason="below_threshold"))
                break
            judgement = self._judge(keyed, candidates, rank, vector=vector, unservable=unservable, bound=bound)
            judgements.append(judgement)
            if judgement.served:
                return Decision(tuple(judgements), judgement.reason, bound.threshold, bound.rule)
        reason = judgements[0].reason if judgements else _NO_CANDIDATES
        return Decision(tuple(judgements), reason, bound.threshold, bound.rule)

    def judge_all(
        self, keyed: KeyedRequest, candidates: Sequence[Candidate], vector: Vector, unservable: Unservable
    ) -> Decision:
        """Judge all candidates, also those after the one that `decide` serves, for a person who asks why.

        The arguments are those of `decide`.
        """
        bound = self._policy.bound(keyed.request)
        judgements: list[Judgement] = []
        served: Judgement | None = None
        for rank in range(len(candidates)):
            judgement = self._judge(keyed, candidates, rank, vector=vector, unservable=unservable, bound=bound)
            if judgement.served and served is not None:
                judgement = replace(judgement, served=False, reason="further_than_served")
            elif judgement.served:
                served = judgement
            judgements.append(judgement)
        reason = served.reason if served else judgements[0].reason if judgements else _NO_CANDIDATES
        return Decision(tuple(judgements), reason, bound.threshold, bound.rule)

    def _judge(
        self,
        keyed: KeyedRequest,
        candidates: Sequence[Candidate],
        rank: int,
        *,
        vector: Vector,
        unservable: Unservable,
        bound: Bound,
    ) -> Judgement:
        """Gather the evidence on the candidate of a rank and let the policy judge it, unless its entry is barred."""
        candidate = candidates[rank]
        entry = candidate.entry
        pair = Pair(self.read(keyed.text), self._reading_of(entry))
        verdicts = self._ask_guards(pair)
        evidence = Evidence(
            candidate=candidate,
            bound=bound,
            rank=rank,
            margin=candidate.similarity - candidates[rank + 1].similarity if rank + 1 < len(candidates) else None,
            verdicts=verdicts,
            score=score_of(candidate.similarity, verdicts),
            asked_chars=len(keyed.text),
            stored_chars=len(entry.text),
            # Without guards, or after a guard's failure, the readings may lack the words.
            count_alignment=pair.count_alignment if verdicts and verdicts is not _FAILURE else AlignmentCounts,
        )
        barred = unservable(entry) or _impossible(candidate) or _blocked(candidate, keyed, vector)
        if barred:
            return evidence.judgement(barred, served=False, barred=True)
        return self._policy.judge(evidence)

    def _ask_guards(self, pair: Pair) -> tuple[GuardVerdict, ...]:
        """Return the verdicts of all guards, in order.

        A guard with `passes_equal` isn't asked where its features are equal, as they mostly are. A guard that raises
        counts as a veto: a defect of a guard costs a hit, but never a request, and it never serves a doubtful answer.
        """
        asked, stored = pair.asked.features, pair.stored.features
        try:
            return tuple(
                [
                    verdict if feature and asked[feature] == stored[feature] else compare(pair)
                    for compare, feature, verdict in self._checks
                ]
            )
        except Exception:  # noqa: BLE001 - a guard's defect is not the caller's
            if pair.asked is not _UNREADABLE and pair.stored is not _UNREADABLE:
                _log.exception("guard.failed", effect="the candidate is vetoed")
            return _FAILURE

    def _read_text(self, text: str) -> Reading:
        try:
            return read(text, self._guards)
        except Exception:  # noqa: BLE001 - a guard's defect is not the caller's, and a paid answer is stored anyway
            _log.exception("guard.failed", chars=len(text), effect="the text has exact hits alone")
            return _UNREADABLE

    def _reading_of(self, entry: Entry) -> Reading:
        if self._features <= entry.features.keys():
            return Reading(entry.features)
        return self.read(entry.text)  # It was stored before a guard was switched on, or by an older version of a guard.


def score_of(similarity: float, verdicts: Iterable[GuardVerdict]) -> float:
    """Return the cosine with the guards' adjustments, at most 1. The threshold is compared with it."""
    return min(1.0, similarity + sum([verdict.adjustment for verdict in verdicts]))


def _impossible(candidate: Candidate) -> str:
    """Return "similarity_impossible" for a similarity that no two unit vectors have: one of them is damaged."""
    return "" if candidate.similarity <= MAX_SIMILARITY else "similarity_impossible"


def _blocked(candidate: Candidate, keyed: KeyedRequest, vector: Vector) -> str:
    """Return "blocked" if a caller reported the entry as wrong for such a request, else "".

    Such a request is the reported one itself, or one that is nearer to the reported one than to the entry's own text:
    then the reported request explains it better than the entry does.
    """
    for rejection in candidate.entry.rejections:
        if rejection.exact_key == keyed.exact_key:
            return "blocked"
        if rejection.vector:
            wrong = np.frombuffer(rejection.vector, np.float16).astype(np.float32)
            if wrong.shape == vector.shape and float(wrong @ vector) >= candidate.similarity:
                return "blocked"
    return ""
