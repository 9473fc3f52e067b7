"""Counts of what was served, with intervals, and the differences of two settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from semcache.evaluation.labels.pairs import Pair
from semcache.evaluation.statistics.bootstrap import Resampled, percentiles, resample
from semcache.evaluation.statistics.bounds import wilson

Interval = tuple[float, float]
Result = tuple[Pair, bool]
"""A pair, and whether it was served."""

_SAME, _SAME_SERVED, _OTHER, _OTHER_SERVED, _SERVED = range(5)
"""Columns of what is resampled."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of so many.

    Attributes:
        count: how many.
        of: of how many.
        resampled: the cluster bootstrap's 95 % interval, where the cases depend on each other; None where they don't.
        groups: how many independent groups the cases form; None where each is one.
    """

    count: int
    of: int
    resampled: Interval | None = None
    groups: int | None = None

    @property
    def share(self) -> float | None:
        """The count divided by `of`; None for none of none."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval's ends, shares; None for none of none.

        Wilson's for independent cases. For cases that depend on each other the cluster bootstrap's; where none or all
        were served, a bootstrap has nothing to vary, and Wilson's counts groups for cases.
        """
        if not self.of:
            return None
        if self.groups is None:
            return _wilson(self.count, self.of)
        if self.resampled is not None and 0 < self.count < self.of:
            return self.resampled
        return _wilson(self.groups if self.count else 0, self.groups)

    @property
    def method(self) -> str:
        """What made the interval: wilson, wilson_of_groups or cluster_bootstrap."""
        if self.groups is None:
            return "wilson"
        return "cluster_bootstrap" if self.resampled is not None and 0 < self.count < self.of else "wilson_of_groups"


@dataclass(frozen=True, slots=True)
class KindScore:
    """What was served of one kind of pairs."""

    kind: str
    same: bool
    served: Rate


@dataclass(frozen=True, slots=True)
class Score:
    """What one setting served: hits of those that share an answer, traps of those that don't, traps of all served."""

    threshold: float
    hits: Rate
    traps: Rate
    wrong: Rate
    kinds: tuple[KindScore, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """By how much a share differs under another setting, with the paired bootstrap's 95 % interval.

    None where one of the two served nothing that the share is of.
    """

    difference: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Another setting's shares minus the first one's, on the same pairs."""

    hits: Change
    traps: Change
    wrong: Change


def score(threshold: float, results: Iterable[Result]) -> Score:
    """The score of one setting."""
    told = tuple(results)
    kinds: dict[tuple[bool, str], list[Result]] = {}
    for result in told:
        kinds.setdefault((not result[0].same, result[0].kind), []).append(result)
    resampled = _resampled(told) if _depend(told) else None

    def rate(chosen: Sequence[Result], count: int, above: int, below: int) -> Rate:
        if resampled is None or not _depend(chosen):
            return Rate(count, len(chosen))
        return Rate(count, len(chosen), percentiles(resampled.ratio(above, below)), _groups(chosen))

    same = [result for result in told if result[0].same]
    other = [result for result in told if not result[0].same]
    served = [result for result in told if result[1]]
    wrong = _served(other)
    return Score(
        threshold,
        hits=rate(same, _served(same), _SAME_SERVED, _SAME),
        traps=rate(other, wrong, _OTHER_SERVED, _OTHER),
        wrong=rate(served, wrong, _OTHER_SERVED, _SERVED),
        kinds=tuple(KindScore(kind, not differs, _kind_rate(some)) for (differs, kind), some in sorted(kinds.items())),
    )


def compare(first: Sequence[Result], other: Sequence[Result]) -> Comparison:
    """What changes from one setting to another, over the same pairs in the same order."""
    before, after = _resampled(first), _resampled(other)

    def change(above: int, below: int) -> Change:
        ratios = [_total(told, above, below) for told in (first, other)]
        if ratios[0] is None or ratios[1] is None:
            return Change(None, None)
        return Change(ratios[1] - ratios[0], percentiles(after.ratio(above, below) - before.ratio(above, below)))

    return Comparison(change(_SAME_SERVED, _SAME), change(_OTHER_SERVED, _OTHER), change(_OTHER_SERVED, _SERVED))


def _kind_rate(results: Sequence[Result]) -> Rate:
    if not _depend(results):
        return Rate(_served(results), len(results))
    resampled = _resampled(results)
    above, below = (_SAME_SERVED, _SAME) if results[0][0].same else (_OTHER_SERVED, _OTHER)
    return Rate(_served(results), len(results), percentiles(resampled.ratio(above, below)), _groups(results))


def _columns(results: Sequence[Result]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    same = np.array([pair.same for pair, _ in results], dtype=np.bool_)
    served = np.array([flag for _, flag in results], dtype=np.bool_)
    return np.stack([same, same & served, ~same, ~same & served, served], axis=1)


def _resampled(results: Sequence[Result]) -> Resampled:
    return resample(_columns(results), [pair.sampled_with for pair, _ in results])


def _total(results: Sequence[Result], above: int, below: int) -> float | None:
    sums = _columns(results).sum(axis=0)
    return float(sums[above] / sums[below]) if sums[below] else None


def _depend(results: Sequence[Result]) -> bool:
    return _groups(results) < len(results)


def _groups(results: Sequence[Result]) -> int:
    return len({pair.sampled_with for pair, _ in results})


def _served(results: Sequence[Result]) -> int:
    return sum(flag for _, flag in results)


def _wilson(count: int, of: int) -> Interval:
    low, high = wilson(count, of)
    return float(low), float(high)
