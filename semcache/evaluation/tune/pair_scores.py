"""Scores pairs with known similarity under one set of guards: a score for each pair, and the guards that vetoed it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.decision import Decider
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

    def compared(self) -> NDArray[np.bool_]:
        """Return whether a threshold decides about each pair: exact matches and vetoed pairs are False."""
        return np.isfinite(self.scores)

    def part(self, chosen: NDArray[np.bool_]) -> ScoredPairs:
        """Return the pairs for which `chosen`, of shape (pairs,), is True."""
        numbers = np.flatnonzero(chosen)
        return ScoredPairs(
            tuple(self.pairs[number] for number in numbers),
            self.scores[chosen],
            self.same[chosen],
            tuple(self.vetoes[number] for number in numbers),
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
