"""Play every system over every order of a stream, and choose settings on one part of the data for the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.hit_rate.playing import EXACT_ONLY, Served, play_cosine, play_semcache, play_shipped
from benchmarks.hit_rate.prompts import Corpus
from benchmarks.hit_rate.scores import BUDGETS, DEFINITIONS, Tally, best_setting, tally
from benchmarks.hit_rate.streams import Stream
from benchmarks.hit_rate.verified import INVENTED, OBSERVED, Start, play_verified
from benchmarks.hit_rate.world import World
from semcache.settings import DecisionSettings

COSINE, SEMCACHE, VERIFIED = "cosine", "semcache", "vCache"
AS_SHIPPED = "semcache as shipped"
"""With the higher threshold that the server itself chooses where requests seldom repeat others."""
EXACT_VERIFIED = "exact tier and vCache"
SEEDED, EXACT_SEEDED = "vCache as its code starts", "exact tier and vCache as its code starts"
SHIPPED = DecisionSettings().threshold
GPTCACHE_DEFAULT = 0.60
"""The cosine that its threshold .8 demands."""
SWEEP = (*(n / 50 for n in range(20, 40)), *(n / 100 for n in range(80, 101)), EXACT_ONLY)
DELTAS = BUDGETS
Play = Callable[[World, Sequence[int], float], Served]


@dataclass(frozen=True, slots=True)
class Run:
    """One order of a stream through one system at one setting (a threshold, or vCache's δ)."""

    asked: Sequence[int]
    served: Served
    tally: Tally


@dataclass(frozen=True, slots=True)
class Played:
    """A stream through all systems: for each system and setting, a run of each order."""

    stream: Stream
    world: World
    corpus: Corpus
    runs: Mapping[tuple[str, float], tuple[Run, ...]]

    def total(self, system: str, setting: float) -> Tally:
        """Return the counts of all orders together."""
        first, *others = (run.tally for run in self.runs[system, setting])
        return sum(others, first)

    def totals(self, system: str) -> dict[float, Tally]:
        """Return the counts of all orders together, by setting."""
        return {setting: self.total(name, setting) for name, setting in self.runs if name == system}


Chosen = Mapping[tuple[str, str, float], float]
"""The setting that the tuning part chose, by system, definition of wrong and budget."""


def play_sweeps(world: World, corpus: Corpus, stream: Stream, shuffles: int) -> Played:
    """Play the systems that have a threshold, at each threshold of the sweep."""
    return _played(world, corpus, stream, shuffles, {COSINE: (play_cosine, SWEEP), SEMCACHE: (play_semcache, SWEEP)})


def play_all(world: World, corpus: Corpus, stream: Stream, shuffles: int) -> Played:
    """Play the systems that have a threshold, and vCache's method at each δ."""
    plays: dict[str, tuple[Play, Sequence[float]]] = {
        COSINE: (play_cosine, SWEEP),
        SEMCACHE: (play_semcache, SWEEP),
        AS_SHIPPED: (play_shipped, (SHIPPED,)),
        VERIFIED: (partial(_play_verified, exact_tier=False, start=OBSERVED), DELTAS),
        EXACT_VERIFIED: (partial(_play_verified, exact_tier=True, start=OBSERVED), DELTAS),
        SEEDED: (partial(_play_verified, exact_tier=False, start=INVENTED), DELTAS),
        EXACT_SEEDED: (partial(_play_verified, exact_tier=True, start=INVENTED), DELTAS),
    }
    return _played(world, corpus, stream, shuffles, plays)


def choose(played: Played) -> Chosen:
    """Return, for each system with a threshold and each budget, the setting that hits most; at worst equal texts."""
    totals = {system: played.totals(system) for system in (COSINE, SEMCACHE)}
    return {
        (system, definition, budget): best_setting(totals[system], budget, definition) or EXACT_ONLY
        for system in (COSINE, SEMCACHE)
        for definition in DEFINITIONS
        for budget in BUDGETS
    }


def _play_verified(world: World, asked: Sequence[int], delta: float, *, exact_tier: bool, start: Start) -> Served:
    # The draws differ from order to order, as the requests do, and are the same in every run of the benchmark.
    return play_verified(world, asked, delta, seed=hash(tuple(asked)), exact_tier=exact_tier, start=start)


def _played(
    world: World, corpus: Corpus, stream: Stream, shuffles: int, plays: Mapping[str, tuple[Play, Sequence[float]]]
) -> Played:
    orders = [world.numbers(requests) for requests in stream.orders(shuffles)]
    runs = {}
    for system, (play, settings) in plays.items():
        for setting in settings:
            of_setting = []
            for asked in orders:
                served = play(world, asked, setting)
                of_setting.append(Run(asked, served, tally(world.labels, asked, served)))
            runs[system, setting] = tuple(of_setting)
    return Played(stream, world, corpus, runs)
