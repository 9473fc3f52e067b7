"""Scores a setting by what it served, with intervals, and compares two settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from semcache.evaluation.labels.pairs import LabelledPair
from semcache.evaluation.statistics.bootstrap import Resampled, percentiles, resample
from semcache.evaluation.statistics.bounds import wilson

Interval = tuple[float, float]
Result = tuple[LabelledPair, bool]
"""(a pair, whether it was served)."""

_SAME, _SAME_SERVED, _OTHER, _OTHER_SERVED, _SERVED = range(5)
"""The columns that are resampled; "other" stands for traps."""


@dataclass(frozen=True, slots=True)
class Proportion:
    """A count out of a total, with its interval.

    Attributes:
        count: the cases counted.
        of: all cases.
        resampled: the cluster bootstrap's 95 % interval if cases depend on each other; None if they don't.
        groups: the number of independent groups of cases; None if every case is independent.
    """

    count: int
    of: int
    resampled: Interval | None = None
    groups: int | None = None

    @property
    def share(self) -> float | None:
        """The count divided by `of`; None if there are no cases."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> Interval | None:
        """The ends of the 95 % interval, as shares; None if there are no cases.

        - Independent cases have Wilson's interval.
        - Cases that depend on each other have the cluster bootstrap's interval.
        - If none or all of such cases count, a bootstrap has nothing to vary; then Wilson's interval of groups is used.
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
        """The method of the interval: wilson, wilson_of_groups or cluster_bootstrap."""
        if self.groups is None:
            return "wilson"
        return "cluster_bootstrap" if self.resampled is not None and 0 < self.count < self.of else "wilson_of_groups"


@dataclass(frozen=True, slots=True)
class KindScore:
    """The served pairs of one kind."""

    kind: str
    same: bool
    served: Proportion


@dataclass(frozen=True, slots=True)
class Score:
    """What one setting served.

    Attributes:
        threshold: the setting's similarity threshold.
        hits: served pairs of all pairs that share an answer.
        traps: served pairs of all pairs that don't share one.
        wrong: served traps of all served pairs.
        kinds: the served pairs of each kind.
    """

    threshold: float
    hits: Proportion
    traps: Proportion
    wrong: Proportion
    kinds: tuple[KindScore, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """The difference of a share between two settings, with the paired bootstrap's 95 % interval.

    Both are None if the share is undefined under one of the settings.
    """

    difference: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The shares of another setting minus those of the first setting, over one set of pairs."""

    hits: Change
    traps: Change
    wrong: Change


def score(threshold: float, results: Iterable[Result]) -> Score:
    """Return the score of one setting from its results."""
    cases = tuple(results)
    kinds: dict[tuple[bool, str], list[Result]] = {}
    for result in cases:
        kinds.setdefault((not result[0].same, result[0].kind), []).append(result)
    resampled = _resampled(cases) if _depend(cases) else None

    def rate(chosen: Sequence[Result], count: int, above: int, below: int) -> Proportion:
        if resampled is None or not _depend(chosen):
            return Proportion(count, len(chosen))
        return Proportion(count, len(chosen), percentiles(resampled.ratio(above, below)), _groups(chosen))

    same = [result for result in cases if result[0].same]
    other = [result for result in cases if not result[0].same]
    served = [result for result in cases if result[1]]
    wrong = _served(other)
    return Score(
        threshold,
        hits=rate(same, _served(same), _SAME_SERVED, _SAME),
        traps=rate(other, wrong, _OTHER_SERVED, _OTHER),
        wrong=rate(served, wrong, _OTHER_SERVED, _SERVED),
        kinds=tuple(
            KindScore(kind, not differs, _kind_rate(results)) for (differs, kind), results in sorted(kinds.items())
        ),
    )


def compare(first: Sequence[Result], other: Sequence[Result]) -> Comparison:
    """Return the changes from the first setting to the other; both have results of the same pairs in one order."""
    before, after = _resampled(first), _resampled(other)

    def change(above: int, below: int) -> Change:
        ratios = [_total(cases, above, below) for cases in (first, other)]
        if ratios[0] is None or ratios[1] is None:
            return Change(None, None)
        return Change(ratios[1] - ratios[0], percentiles(after.ratio(above, below) - before.ratio(above, below)))

    return Comparison(change(_SAME_SERVED, _SAME), change(_OTHER_SERVED, _OTHER), change(_OTHER_SERVED, _SERVED))


def _kind_rate(results: Sequence[Result]) -> Proportion:
    if not _depend(results):
        return Proportion(_served(results), len(results))
    resampled = _resampled(results)
    above, below = (_SAME_SERVED, _SAME) if results[0][0].same else (_OTHER_SERVED, _OTHER)
    return Proportion(_served(results), len(results), percentiles(resampled.ratio(above, below)), _groups(results))


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
