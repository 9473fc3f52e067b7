"""Score a run: hit ratio, precision at hit, wrong hits per hit and per request, their kinds, areas, best settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.hit_rate.playing import MISS, Served
from benchmarks.hit_rate.world import World
from semcache.evaluation.statistics.bootstrap import percentiles, resample
from semcache.evaluation.statistics.scoring import Interval, Proportion

PER_HIT, PER_REQUEST = "wrong per hit", "wrong per request"
DEFINITIONS = (PER_HIT, PER_REQUEST)
BUDGETS = (0.005, 0.01, 0.02, 0.05)


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one run, or of several added up."""

    requests: int
    hits: int
    wrong: int

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.requests + other.requests, self.hits + other.hits, self.wrong + other.wrong)

    @property
    def hit_ratio(self) -> float:
        """Return hits, right and wrong, over all requests."""
        return self.hits / self.requests

    @property
    def precision(self) -> float:
        """Return right hits over all hits; 1 without hits."""
        return 1.0 - self.share_wrong(PER_HIT)

    def share_wrong(self, definition: str) -> float:
        """Return wrong hits over all hits, or over all requests; 0 without any."""
        below = {PER_HIT: self.hits, PER_REQUEST: self.requests}[definition]
        return self.wrong / below if below else 0.0


def tally(labels: NDArray[np.int64], asked: Sequence[int], served: Served) -> Tally:
    """Count a run's hits; a hit is wrong if its label isn't the request's."""
    hit = served != MISS
    wrong = hit & (labels[served] != labels[np.asarray(asked)])
    return Tally(len(served), int(hit.sum()), int(wrong.sum()))


def precision_interval(labels: NDArray[np.int64], asked: Sequence[int], served: Served) -> Interval | None:
    """Return the 95 % interval of the precision at hit; requests of one answer are resampled together."""
    asked_labels = labels[np.asarray(asked)]
    hit = served != MISS
    right = hit & (labels[served] == asked_labels)
    resampled = percentiles(resample(np.stack([right, hit], axis=1), asked_labels.tolist()).ratio(0, 1))
    return Proportion(int(right.sum()), int(hit.sum()), resampled, len(set(asked_labels[hit].tolist()))).interval


def kinds_of_wrong(
    world: World, asked: Sequence[int], served: Served, traps: Mapping[frozenset[str], str]
) -> Counter[str]:
    """Count wrong hits by cause: a trap's kind, another cluster or prompt of the same set, or an unrelated prompt."""
    kinds: Counter[str] = Counter()
    for number, got in zip(asked, served.tolist(), strict=True):
        if got != MISS and world.labels[got] != world.labels[number]:
            one, other = world.prompts[number], world.prompts[got]
            trap = traps.get(frozenset((one.text, other.text)))
            same_set = "other cluster" if one.source == "banking77" else "same set"
            kinds[trap or (same_set if one.source == other.source else "unrelated")] += 1
    return kinds


def area(tallies: Sequence[Tally], limit: float) -> float:
    """Return the area under precision against hit ratio from 0 to `limit`, divided by `limit`; 1 is perfect.

    Trapezia between the settings, from precision 1 at no hits; beyond the most that any setting hits it counts 0.
    """
    points = sorted({(one.hit_ratio, one.precision) for one in tallies if one.hits} | {(0.0, 1.0)})
    ratios, precisions = np.array(points).T
    inside = np.linspace(0.0, min(limit, float(ratios[-1])), 1_001)
    return float(np.trapezoid(np.interp(inside, ratios, precisions), inside)) / limit


def best_setting(tallies: Mapping[float, Tally], budget: float, definition: str) -> float | None:
    """Return the setting that hits most within a wrong budget; of equal ones the greater; None without any."""
    within = [setting for setting, one in tallies.items() if one.share_wrong(definition) <= budget]
    return max(within, key=lambda setting: (tallies[setting].hit_ratio, setting), default=None)
