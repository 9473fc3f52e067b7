"""Print the benchmark's tables: a row for each system and setting, areas, and the wrong hits."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.hit_rate.playing import EXACT_ONLY
from benchmarks.hit_rate.running import (
    AS_SHIPPED,
    COSINE,
    DELTAS,
    EXACT_SEEDED,
    EXACT_VERIFIED,
    GPTCACHE_DEFAULT,
    SEEDED,
    SEMCACHE,
    SHIPPED,
    VERIFIED,
    Chosen,
    Played,
    Run,
)
from benchmarks.hit_rate.scores import (
    BUDGETS,
    DEFINITIONS,
    PER_HIT,
    PER_REQUEST,
    area,
    kinds_of_wrong,
    precision_interval,
)

_KINDS_SHOWN = 20
"""Rows whose wrong hits are printed by kind: the systems as they are shipped. The JSON has them all."""


@dataclass(frozen=True, slots=True)
class Row:
    """A system at one setting over the orders of a stream."""

    title: str
    setting: float
    runs: tuple[Run, ...]

    def values(self, of: str) -> list[float]:
        """Return `hit_ratio` or `precision` in each order, or wrong hits by one of the definitions."""
        if of in DEFINITIONS:
            return [run.tally.share_wrong(of) for run in self.runs]
        return [float(getattr(run.tally, of)) for run in self.runs]

    def as_json(self, played: Played) -> dict[str, Any]:
        """Return the row's numbers: median, lowest, highest of the orders; the first order's precision interval."""
        first = self.runs[0]
        spread = {
            of.replace(" ", "_"): [round(number, 5) for number in (statistics.median(values), min(values), max(values))]
            for of in ("hit_ratio", "precision", *DEFINITIONS)
            for values in [self.values(of)]
        }
        interval = precision_interval(played.world.labels, first.asked, first.served)
        setting = None if self.setting == EXACT_ONLY else self.setting
        kinds: Counter[str] = Counter()
        for run in self.runs:
            kinds.update(kinds_of_wrong(played.world, run.asked, run.served, played.corpus.traps))
        return {
            "system": self.title,
            "setting": setting,
            **spread,
            "precision_interval": interval and [round(end, 5) for end in interval],
            "wrong_by_kind": {kind: round(count / len(self.runs), 2) for kind, count in kinds.most_common()},
        }


def rows(played: Played, chosen: Chosen, best: Chosen) -> Iterator[Row]:
    """Return the rows of a stream: systems as shipped, at the settings that the other part chose, and at the best.

    The best are chosen on the stream itself, with hindsight: there both systems keep the budget.
    """
    yield Row("exact only", EXACT_ONLY, played.runs[COSINE, EXACT_ONLY])
    yield Row("cosine as semcache ships it", SHIPPED, played.runs[COSINE, SHIPPED])
    yield Row(AS_SHIPPED, SHIPPED, played.runs[AS_SHIPPED, SHIPPED])
    yield Row("GPTCache as shipped", GPTCACHE_DEFAULT, played.runs[COSINE, GPTCACHE_DEFAULT])
    for system in (VERIFIED, EXACT_VERIFIED, SEEDED, EXACT_SEEDED):
        for delta in DELTAS:
            yield Row(f"{system}, δ = {delta:.1%}", delta, played.runs[system, delta])
    for definition in DEFINITIONS:
        for budget in BUDGETS:
            for system in (COSINE, SEMCACHE):
                setting = chosen[system, definition, budget]
                yield Row(f"{system} for {budget:.1%} {definition}", setting, played.runs[system, setting])
    for budget in BUDGETS:
        for system in (COSINE, SEMCACHE):
            setting = best[system, PER_HIT, budget]
            title = f"{system} in hindsight, {budget:.1%} {PER_HIT}"
            yield Row(title, setting, played.runs[system, setting])


def areas(played: Played) -> dict[str, list[float]]:
    """Return the area under precision against hit ratio up to the share of repeats, in each order, by system."""
    return {
        system: [
            area([runs[number].tally for (name, _), runs in played.runs.items() if name == system], limit)
            for number in range(len(played.runs[COSINE, EXACT_ONLY]))
        ]
        for limit in [played.stream.repeats]
        for system in (COSINE, SEMCACHE)
    }


def show(played: Played, told: list[dict[str, Any]]) -> None:
    """Print a stream's table."""
    stream = played.stream
    print(f"\n{stream.name}: {len(stream.requests):,} requests, {stream.repeats:.1%} repeat an earlier answer")
    titles = f"{'hit ratio':>23}{'precision':>11}{'95 % interval':>17}{'wrong/hit':>11}{'/request':>10}"
    print(f"{'':<42}{'setting':>8}{titles}")
    for row in told:
        middle, low, high = (100 * number for number in row["hit_ratio"])
        ends = row["precision_interval"]
        interval = f"{ends[0]:.3f} – {ends[1]:.3f}" if ends else ""
        setting = "" if row["setting"] is None else f"{row['setting']:g}"
        print(
            f"{row['system']:<42}{setting:>8}{f'{middle:.1f} % ({low:.1f} – {high:.1f})':>23}"
            f"{row['precision'][0]:>11.4f}{interval:>17}"
            f"{row[PER_HIT.replace(' ', '_')][0]:>11.2%}{row[PER_REQUEST.replace(' ', '_')][0]:>10.2%}"
        )
    for system, values in areas(played).items():
        print(f"  area under precision against hit ratio, {system}: {statistics.median(values):.4f}")
    for row in told[:_KINDS_SHOWN]:
        kinds = ", ".join(f"{kind} {count:g}" for kind, count in row["wrong_by_kind"].items())
        print(f"  wrong hits of {row['system']} by kind, a run: {kinds or 'none'}")
