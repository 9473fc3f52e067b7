"""What a setting makes of pairs whose similarity is known: a score for each, and the guards that refused it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.decision import Decider
from semcache.evaluation.tune.comparing import Compared, Relation
from semcache.model import Effect

SLACK = 1e-6
"""As much as a score may lie below a threshold and reach it: cosines of equal vectors come out as 0.9999999."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Pairs under one set of guards, as columns; a threshold is all that is still to be chosen.

    Attributes:
        pairs: what was judged.
        scores: shape (pairs,): +inf for what is served exactly, -inf for what no threshold serves, else the similarity
            with the guards' adjustments.
        same: shape (pairs,): whether the two share an answer.
        vetoes: of each pair, the guards that refused it.
    """

    pairs: tuple[Compared, ...]
    scores: NDArray[np.float64]
    same: NDArray[np.bool_]
    vetoes: tuple[tuple[str, ...], ...]

    def served(self, threshold: float) -> NDArray[np.bool_]:
        """Which pairs a threshold serves, the exact ones among them; shape (pairs,)."""
        return self.scores >= threshold - SLACK

    def compared(self) -> NDArray[np.bool_]:
        """Which pairs a threshold decides about: neither exact nor refused whatever it is; shape (pairs,)."""
        return np.isfinite(self.scores)

    def part(self, chosen: NDArray[np.bool_]) -> Judged:
        """The pairs that `chosen`, of shape (pairs,), names."""
        numbers = np.flatnonzero(chosen)
        return Judged(
            tuple(self.pairs[number] for number in numbers),
            self.scores[chosen],
            self.same[chosen],
            tuple(self.vetoes[number] for number in numbers),
        )


def judge(
    compared: Sequence[Compared], decider: Decider, on_progress: Callable[[int], None] = lambda _: None
) -> Judged:
    """Ask a decider about every pair that is compared by meaning.

    Args:
        compared: any number.
        decider: its guards count here; its threshold doesn't.
        on_progress: told how many pairs have been judged since the last call.
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
    return Judged(tuple(compared), scores, same, tuple(vetoes))
