"""Counts of what was served, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from semcache.evaluation.labels import Pair

_Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of so many, with Wilson's 95 % interval (Wilson 1927): right also near 0 and for few cases."""

    count: int
    of: int

    @property
    def share(self) -> float | None:
        """The count divided by `of`; None for none of none."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval's ends, shares; None for none of none."""
        if not self.of:
            return None
        share, square = self.count / self.of, _Z_95**2
        middle = share + square / (2 * self.of)
        half = _Z_95 * math.sqrt(share * (1 - share) / self.of + square / (4 * self.of**2))
        low, high = ((middle + sign * half) / (1 + square / self.of) for sign in (-1, 1))
        # At the ends the formula is exact, and floats are not.
        return low if self.count else 0.0, high if self.count < self.of else 1.0


@dataclass(frozen=True, slots=True)
class KindScore:
    """What was served of one kind of pairs."""

    kind: str
    same: bool
    served: Rate


@dataclass(frozen=True, slots=True)
class Score:
    """What one setting served: hits of those that share an answer, traps of those that don't."""

    threshold: float
    hits: Rate
    traps: Rate
    kinds: tuple[KindScore, ...]


def score(threshold: float, results: Iterable[tuple[Pair, bool]]) -> Score:
    """The score of one setting from (pair, whether it was served)."""
    served: dict[tuple[bool, str], list[bool]] = {}
    for pair, was_served in results:
        served.setdefault((pair.same, pair.kind), []).append(was_served)

    def rate(*, same: bool) -> Rate:
        chosen = [flag for (label, _), flags in served.items() if label is same for flag in flags]
        return Rate(sum(chosen), len(chosen))

    kinds = tuple(
        KindScore(kind, same, Rate(sum(flags), len(flags)))
        for (same, kind), flags in sorted(served.items(), key=lambda item: (not item[0][0], item[0][1]))
    )
    return Score(threshold, rate(same=True), rate(same=False), kinds)
