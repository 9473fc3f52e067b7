"""Scores pairs with known similarity under one set of guards, and finds at which thresholds each would be served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.decision import Decider
from semcache.evaluation.labels.pairs import BACKGROUND
from semcache.evaluation.tune.comparing import ComparedPair, Relation
from semcache.model import Effect

SLACK = 1e-6
"""How far a score may lie below a threshold and still reach it: the cosine of equal vectors may be 0.9999999."""


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """Pairs under one set of guards, as columns. Only the threshold is still open.

    Attributes:
        pairs: the pairs.
        scores: shape (pairs,). +inf for exact matches, -inf for pairs that no threshold serves, else the similarity
            with the guards' adjustments.
        same: whether each pair shares an answer, shape (pairs,).
        vetoes: the names of the guards that vetoed each pair.
    """

    pairs: tuple[ComparedPair, ...]
    scores: NDArray[np.float64]
    same: NDArray[np.bool_]
    vetoes: tuple[tuple[str, ...], ...]

    def served(self, threshold: float) -> NDArray[np.bool_]:
        """Return whether a threshold serves each pair, exact matches included; shape (pairs,)."""
        return self.scores >= threshold - SLACK


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests with the candidates that the cache looks at.

    Attributes:
        candidates: the numbers of their pairs, nearest first, -1 where there are fewer; shape (requests, candidates).
        weights: how many requests each stands for, shape (requests,): 1 / orders where a text is asked in several.
        alone: the number of further requests, which have no candidate and are misses under any threshold.
    """

    candidates: NDArray[np.int64]
    weights: NDArray[np.float64]
    alone: float = 0.0


def one_candidate_each(count: int) -> Requests:
    """Return requests with one candidate each, in the order of `count` pairs."""
    return Requests(np.arange(count)[:, None], np.ones(count))


def joined(parts: Sequence[Requests]) -> Requests:
    """Return the requests of several parts, whose pairs are numbered one part after the other.

    A part's pairs are as many as its greatest candidate says: each of its pairs is a candidate.
    """
    width = max(part.candidates.shape[1] for part in parts)
    rows, start = [], 0
    for part in parts:
        padded = np.full((len(part.candidates), width), -1, np.int64)
        padded[:, : part.candidates.shape[1]] = np.where(part.candidates >= 0, part.candidates + start, -1)
        rows.append(padded)
        start += int(part.candidates.max(initial=-1)) + 1
    return Requests(
        np.concatenate(rows), np.concatenate([part.weights for part in parts]), sum(part.alone for part in parts)
    )


@dataclass(frozen=True, slots=True)
class ScoredRequests:
    """Requests under one set of guards, as one row for each candidate that some threshold serves.

    The cache serves the nearest candidate whose score reaches the threshold. So a row is served at the thresholds above
    its floor, the greatest score of nearer candidates, up to its own score. A request whose labelled candidates are
    never served keeps a row for the nearest of them, with a score of -inf: it counts among all hits or all traps.

    Attributes:
        pairs: the pair of each row.
        numbers: the number of that pair among all compared pairs, shape (rows,).
        scores: shape (rows,). +inf for exact matches, -inf for a request that no threshold serves.
        floors: shape (rows,). +inf for a labelled pair that is never served beside a row that may be.
        weights: how many requests each row stands for, shape (rows,).
        same: whether each pair shares an answer, shape (rows,).
        vetoes: the names of the guards that vetoed each pair.
        requests: the number of requests: the sum of their weights.
    """

    pairs: tuple[ComparedPair, ...]
    numbers: NDArray[np.int64]
    scores: NDArray[np.float64]
    floors: NDArray[np.float64]
    weights: NDArray[np.float64]
    same: NDArray[np.bool_]
    vetoes: tuple[tuple[str, ...], ...]
    requests: float

    def served(self, threshold: float) -> NDArray[np.bool_]:
        """Return whether a threshold serves each row, exact matches included; shape (rows,)."""
        return (self.scores >= threshold - SLACK) & (self.floors < threshold - SLACK)

    def compared(self) -> NDArray[np.bool_]:
        """Return whether a threshold decides about each row: exact matches and vetoed pairs are False."""
        return np.isfinite(self.scores)

    def labelled(self) -> NDArray[np.bool_]:
        """Return whether each row has a label: a prompt of other traffic has none; shape (rows,)."""
        return _labelled(self.pairs)

    def part(self, chosen: NDArray[np.bool_]) -> ScoredRequests:
        """Return the rows for which `chosen`, of shape (rows,), is True."""
        rows = np.flatnonzero(chosen)
        first = chosen & np.isneginf(self.floors)
        return ScoredRequests(
            tuple(self.pairs[row] for row in rows),
            self.numbers[chosen],
            self.scores[chosen],
            self.floors[chosen],
            self.weights[chosen],
            self.same[chosen],
            tuple(self.vetoes[row] for row in rows),
            float(self.weights[first].sum()),
        )


def score_pairs(
    compared: Sequence[ComparedPair], decider: Decider, on_progress: Callable[[int], None] = lambda _: None
) -> ScoredPairs:
    """Score every pair with a decider's guards.

    Args:
        compared: the pairs.
        decider: its guards are applied; its threshold is not.
        on_progress: called with the number of pairs scored since its last call.
    """
    scores = np.full(len(compared), -np.inf)
    vetoes: list[tuple[str, ...]] = []
    for number, item in enumerate(compared):
        refusing: tuple[str, ...] = ()
        if item.relation is Relation.EXACT:
            scores[number] = np.inf
        elif item.similarity is not None:
            score, verdicts = decider.compare(item.asked, item.stored, item.similarity)
            refusing = tuple(verdict.guard for verdict in verdicts if verdict.effect is Effect.VETO)
            if not refusing:
                scores[number] = score
        vetoes.append(refusing)
        on_progress(1)
    same = np.array([item.pair.same for item in compared], dtype=np.bool_)
    return ScoredPairs(tuple(compared), scores, same, tuple(vetoes))


def _labelled(pairs: Sequence[ComparedPair]) -> NDArray[np.bool_]:
    """Return which pairs have a label; shape (pairs,)."""
    return np.array([item.pair.stored_group != BACKGROUND for item in pairs], np.bool_)


def score_requests(scored: ScoredPairs, requests: Requests) -> ScoredRequests:
    """Return the rows of requests: which candidate each threshold serves. Equal rows are added up."""
    candidates = requests.candidates
    scores = np.where(candidates >= 0, scored.scores[candidates], -np.inf)
    best = np.maximum.accumulate(scores, axis=1)
    nearer = np.concatenate([np.full((len(scores), 1), -np.inf), best[:, :-1]], axis=1)
    # A request that nothing may serve keeps its nearest candidate as its one row.
    kept = (scores > nearer + SLACK) | (np.isneginf(best[:, -1:]) & (np.arange(candidates.shape[1]) == 0))
    kept &= candidates >= 0
    labels = _labelled(scored.pairs)
    labelled = (candidates >= 0) & labels[candidates] if labels.size else candidates >= 0
    unserved = labelled & ~(kept & labelled).any(axis=1, keepdims=True) & (np.cumsum(labelled, axis=1) == 1)
    floors = np.where(unserved, np.inf, nearer)
    of_request, place = np.nonzero(kept | unserved)
    keys = np.stack([candidates[of_request, place].astype(np.float64), floors[of_request, place]], axis=1)
    rows, row_of = np.unique(keys, axis=0, return_inverse=True)
    weights = np.bincount(row_of.ravel(), requests.weights[of_request], len(rows)).astype(np.float64)
    numbers = rows[:, 0].astype(np.int64)
    return ScoredRequests(
        tuple(scored.pairs[number] for number in numbers),
        numbers,
        np.where(np.isposinf(rows[:, 1]), -np.inf, scored.scores[numbers]),
        rows[:, 1],
        weights,
        scored.same[numbers],
        tuple(scored.vetoes[number] for number in numbers),
        float(requests.weights.sum()) + requests.alone,
    )
