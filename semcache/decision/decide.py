"""The decision over the candidates of one request: nearest first, past the vetoed ones, down to the bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import structlog

from semcache.decision.guards import GUARDS, Guard, feature_name, features_of, passed, read
from semcache.decision.pair import Pair, Reading
from semcache.decision.policy import Policy
from semcache.errors import SettingsError
from semcache.model import Candidate, Decision, Effect, Entry, GuardVerdict, Judgement, KeyedRequest, Vector
from semcache.settings import DecisionSettings
from semcache.text import lexicon

_log = structlog.get_logger(__name__)
_FLOAT_SLACK = 1e-6
"""Cosines of equal vectors come out as 0.9999999; a threshold of 1 must still admit them."""


_REMEMBERED_TEXTS = 512
"""As long as the embedder reads, a few kilobytes each."""
_UNREADABLE = Reading({})
"""Of a text that a guard has failed on: it is never a hit for another, nor another for it."""
_FAILED = "failed"
"""The verdict's guard where one has failed."""


class Decider:
    """Judges candidates with a policy and guards; holds no state that a decision changes."""

    def __init__(self, settings: DecisionSettings, policy: Policy) -> None:
        """Raises SettingsError for a guard that doesn't exist."""
        unknown = [name for name in settings.guards if name not in GUARDS]
        if unknown:
            known = ", ".join(GUARDS)
            raise SettingsError([f"decision.guards: there is no guard {name!r}, only {known}" for name in unknown])
        self._policy = policy
        self._guards: Sequence[Guard] = [GUARDS[name] for name in settings.guards]
        self._most = sum(guard.most for guard in self._guards)
        # How each is asked; the parse of which it finds nothing in two that are the same; what it says then.
        self._asked = [
            (guard.compare, feature_name(guard) if guard.passes_equal else "", passed(guard.name))
            for guard in self._guards
        ]
        self._parsed = features_of("", self._guards).keys()
        # A miss is parsed when its candidates are judged, and when its answer is stored.
        self._remembered = lru_cache(_REMEMBERED_TEXTS)(self._read_text)
        if self._guards:
            lexicon.load()  # Now, and not while the first request waits.

    def threshold(self, keyed: KeyedRequest) -> float:
        """The bound that holds for a request."""
        return self._policy.bound(keyed.request).threshold

    def least_similarity(self, keyed: KeyedRequest) -> float:
        """No guard can lift a candidate that is further away than this over a request's bound."""
        return self.threshold(keyed) - _FLOAT_SLACK - self._most

    def reading(self, text: str) -> Reading:
        """A text as `compare_readings` takes it."""
        return self._remembered(text)

    def features(self, text: str) -> Mapping[str, tuple[str, ...]]:
        """The guards' parse of a text, to be stored with its entry."""
        return self.reading(text).features

    def compare(self, asked: str, stored: str, similarity: float) -> tuple[float, tuple[GuardVerdict, ...]]:
        """Score and verdicts of one text against another, as `decide` finds them: for evaluation and tuning."""
        return self.compare_readings(self.reading(asked), self.reading(stored), similarity)

    def compare_readings(
        self, asked: Reading, stored: Reading, similarity: float
    ) -> tuple[float, tuple[GuardVerdict, ...]]:
        """The same of two texts that were read before: by `reading`, or `Reading(entry.features)`.

        A guard that finds nothing where its parses are the same isn't asked where they are, as most are. One that fails
        vetoes: a request is worth a miss, never an error or a doubtful hit.
        """
        pair = Pair(asked, stored)
        ours, theirs = asked.features, stored.features
        try:
            verdicts = tuple(
                [
                    nothing if feature and ours[feature] == theirs[feature] else compare(pair)
                    for compare, feature, nothing in self._asked
                ]
            )
        except Exception:  # noqa: BLE001 - a guard's defect is not the caller's
            if asked is not _UNREADABLE and stored is not _UNREADABLE:
                _log.exception("guard_failed", effect="the candidate is vetoed")
            verdicts = (GuardVerdict(_FAILED, Effect.VETO, "a guard failed on this pair, see the log"),)
        return score_of(similarity, verdicts), verdicts

    def decide(
        self,
        keyed: KeyedRequest,
        candidates: Iterable[Candidate],
        vector: Vector,
        unservable: Callable[[Entry], str],
        *,
        thorough: bool = False,
    ) -> Decision:
        """Judge candidates, nearest first; the first that passes everything is served.

        Args:
            keyed: the request.
            candidates: nearest first; taken one by one, no more of them than it needs.
            vector: the request's embedding, shape (dimension,).
            unservable: why an entry may not be served whatever its similarity (too old, a model that is no longer
                routed); empty when it may.
            thorough: judge all of them, also behind the one that is served: for people who ask why.
        """
        bound = self._policy.bound(keyed.request)
        least = bound.threshold - _FLOAT_SLACK
        query: Reading | None = None
        judgements: list[Judgement] = []
        chosen: Judgement | None = None
        for candidate in candidates:
            if candidate.similarity + self._most < least and not thorough:
                # No guard can lift it over the threshold, nor those behind it, which are further away.
                judgements.append(Judgement(candidate, served=False, reason="below_threshold"))
                break
            if query is None:
                query = self.reading(keyed.text)
            score, verdicts = self.compare_readings(query, self._read(candidate.entry), candidate.similarity)
            reason = (
                unservable(candidate.entry)
                or _rejected(candidate, keyed, vector)
                or ("vetoed" if any(v.effect is Effect.VETO for v in verdicts) else "")
                or ("below_threshold" if score < least else "")
            )
            judgement = Judgement(
                candidate,
                served=not reason and chosen is None,
                reason=reason or ("above_threshold" if chosen is None else "further_than_served"),
                verdicts=verdicts,
                score=score,
            )
            judgements.append(judgement)
            if judgement.served:
                chosen = judgement
                if not thorough:
                    break
        reason = chosen.reason if chosen else judgements[0].reason if judgements else "empty_partition"
        return Decision(tuple(judgements), reason, bound.threshold)

    def _read_text(self, text: str) -> Reading:
        try:
            return read(text, self._guards)
        except Exception:  # noqa: BLE001 - the same: an answer that was paid for is stored all the same
            _log.exception("guard_failed", chars=len(text), effect="the text has exact hits alone")
            return _UNREADABLE

    def _read(self, entry: Entry) -> Reading:
        if self._parsed <= entry.features.keys():
            return Reading(entry.features)
        return self.reading(entry.text)  # Stored before a guard was switched on, or by an older version of it.


def score_of(similarity: float, verdicts: Iterable[GuardVerdict]) -> float:
    """What the threshold is held against: the cosine with the guards' adjustments, at most 1."""
    return min(1.0, similarity + sum(verdict.adjustment for verdict in verdicts))


def _rejected(candidate: Candidate, keyed: KeyedRequest, vector: Vector) -> str:
    """Whether a caller said that this entry is wrong for such a request.

    Such a request is the rejected one itself, or one that lies nearer to it than to the entry's own text: the rejected
    request explains it better than the entry does.
    """
    for rejection in candidate.entry.rejections:
        if rejection.exact_key == keyed.exact_key:
            return "blocked"
        if rejection.vector:
            wrong = np.frombuffer(rejection.vector, np.float16).astype(np.float32)
            if wrong.shape == vector.shape and float(wrong @ vector) >= candidate.similarity:
                return "blocked"
    return ""
