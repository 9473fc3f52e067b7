"""Play requests through a cache that stores every miss, and return which prompt's answer each request got."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.hit_rate.world import SLACK, World
from semcache.decision import GUARDS, Repeats
from semcache.settings import DecisionSettings

MISS = -1
EXACT_ONLY = math.inf
"""As a threshold: nothing but equal texts is served."""
K = 5
_MAX_LIFT = sum(guard.max_lift for guard in GUARDS.values())
Served = NDArray[np.int64]
"""For each request the number of the prompt whose answer it got, its own one for an exact hit; MISS: none."""


def play_cosine(world: World, asked: Sequence[int], threshold: float) -> Served:
    """Serve the nearest entry, if its cosine reaches the threshold.

    Looking at more than one entry can't change anything without guards. This is also GPTCache's decision: one
    candidate, and of squared Euclidean distances d² = 2 − 2·cosine its evaluation makes 1 − d²/4 = (1 + cosine)/2,
    which has to reach its threshold T: cosine ≥ 2T − 1.
    """
    return _play(world, asked, threshold, lambda _, stored: int(stored[0]) if stored.size else MISS)


def play_semcache(world: World, asked: Sequence[int], threshold: float) -> Served:
    """Serve, as `Decider` does, the first of the five nearest without a veto whose score reaches the threshold."""

    return _play(
        world, asked, threshold - _MAX_LIFT, lambda number, stored: _first_above(world, number, stored, threshold)
    )


def play_shipped(world: World, asked: Sequence[int], threshold: float) -> Served:
    """Serve as `play_semcache` does, and where requests seldom repeat others by the higher threshold, as the server."""
    repeats, higher = Repeats(), max(threshold, DecisionSettings().few_repeats_threshold)

    def pick(number: int, stored: NDArray[np.int64]) -> int:
        bound = higher if repeats.are_few("", "") else threshold
        if stored.size:
            repeats.note("", "", has_near=bool(world.similarities[number, stored[0]] >= threshold - SLACK))
        return _first_above(world, number, stored, bound)

    return _play(world, asked, -1.0, pick, on_equal=lambda: repeats.note("", "", has_near=True))


def _first_above(world: World, number: int, stored: NDArray[np.int64], threshold: float) -> int:
    least = threshold - SLACK
    return next((candidate for candidate in stored[:K].tolist() if world.score(number, candidate) >= least), MISS)


def _play(
    world: World,
    asked: Sequence[int],
    least: float,
    pick: Callable[[int, NDArray[np.int64]], int],
    on_equal: Callable[[], None] = lambda: None,
) -> Served:
    """Serve equal texts; else `pick` chooses from the stored texts with a cosine of at least `least`, nearest first."""
    near = world.within(least)
    stored = np.zeros(len(world.prompts), np.bool_)
    served = np.full(len(asked), MISS)
    for place, number in enumerate(asked):
        if stored[number]:
            served[place] = number
            on_equal()
            continue
        row = near[number]
        served[place] = pick(number, row[stored[row]])
        stored[number] = served[place] == MISS
    return served
