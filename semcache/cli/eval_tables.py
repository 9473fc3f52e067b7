"""How `semcache eval` tells its results: tables for people, one object for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from semcache.evaluation.labels.pairs import Pair
from semcache.evaluation.replay.playing import Played
from semcache.evaluation.statistics.scoring import Change, Comparison, Rate, Score, compare, score


@dataclass(frozen=True, slots=True)
class Tried:
    """One setting over the pairs of a file: `served` says of each of `played` whether the setting serves it."""

    name: str
    threshold: float
    played: tuple[Played, ...]
    served: tuple[bool, ...]

    @property
    def results(self) -> tuple[tuple[Pair, bool], ...]:
        """Each pair, and whether it was served."""
        return tuple((one.pair, flag) for one, flag in zip(self.played, self.served, strict=True))


def as_json(name: str, tried: Sequence[Tried]) -> dict[str, object]:
    """The results of one file."""
    first, *others = tried
    return {
        "file": name,
        "scores": [{"policy": one.name, **_score_as_json(score(one.threshold, one.results))} for one in tried],
        "differences": [
            {"policy": one.name, "from": first.name, **_comparison_as_json(compare(first.results, one.results))}
            for one in others
        ],
    }


def print_tables(console: Console, name: str, tried: Sequence[Tried], show: int) -> None:
    """The results of one file, the differences from its first setting, and the traps that were served."""
    first, *others = tried
    console.print(_scores(name, [(one.name, score(one.threshold, one.results)) for one in tried]))
    if others:
        compared = [(one.name, compare(first.results, one.results)) for one in others]
        console.print(_differences(first.name, compared))
    for one in tried:
        _print_wrong(console, one, show)


def _score_as_json(item: Score) -> dict[str, object]:
    return {
        "threshold": item.threshold,
        "hits": _rate_as_json(item.hits),
        "traps": _rate_as_json(item.traps),
        "wrong_of_served": _rate_as_json(item.wrong),
        "kinds": [{"kind": kind.kind, "same": kind.same, **_rate_as_json(kind.served)} for kind in item.kinds],
    }


def _rate_as_json(rate: Rate) -> dict[str, object]:
    return {
        "count": rate.count,
        "of": rate.of,
        "share": rate.share,
        "interval_95": rate.interval,
        "interval_method": rate.method,
        "independent_groups": rate.groups,
    }


def _comparison_as_json(item: Comparison) -> dict[str, object]:
    def change(told: Change) -> dict[str, object]:
        return {"difference": told.difference, "interval_95": told.interval}

    return {"hits": change(item.hits), "traps": change(item.traps), "wrong_of_served": change(item.wrong)}


def _scores(name: str, scores: Sequence[tuple[str, Score]]) -> Table:
    table = Table("setting", "pairs", "served", "of", "%", "95 % interval", title=name, title_justify="left")
    for column in table.columns[:2]:
        column.overflow = "fold"  # A kind cut short names nothing.
    for column in table.columns[2:5]:
        column.justify = "right"
    for setting, item in scores:
        _row(table, setting, "hits: one answer", item.hits, "green")
        _row(table, "", "traps: different answers", item.traps, "red")
        _row(table, "", "wrong of all served", item.wrong, "red")
        for kind in item.kinds:
            _row(table, "", f"  {'hit' if kind.same else 'trap'}: {kind.kind}", kind.served, "dim")
        table.add_section()
    groups = [item.hits.groups or item.traps.groups for _, item in scores]
    if any(groups):
        table.caption = "Pairs share clusters or stored texts; the intervals take them together."
    return table


def _row(table: Table, setting: str, what: str, rate: Rate, style: str) -> None:
    share, interval = rate.share, rate.interval
    table.add_row(
        setting,
        what,
        f"{rate.count:,}",
        f"{rate.of:,}",
        "–" if share is None else f"{100 * share:.1f}",
        "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}",
        style=style,
    )


def _differences(first: str, compared: Sequence[tuple[str, Comparison]]) -> Table:
    title = f"Points more or fewer than {first} (paired bootstrap, 95 %)"
    table = Table("setting", "hits", "traps", "wrong of served", title=title, title_justify="left")
    table.columns[0].overflow = "fold"
    for setting, item in compared:
        table.add_row(setting, *(_change(told) for told in (item.hits, item.traps, item.wrong)))
    return table


def _change(told: Change) -> str:
    if told.difference is None:
        return "–"
    text = f"{100 * told.difference:+.1f}"
    if told.interval is not None:
        text += f" ({100 * told.interval[0]:+.1f} to {100 * told.interval[1]:+.1f})"
    return text


def _print_wrong(console: Console, tried: Tried, show: int) -> None:
    wrong = [one for one, flag in zip(tried.played, tried.served, strict=True) if flag and not one.pair.same]
    for one in wrong[:show]:
        stored, asked = one.pair.stored[-1]["content"], one.pair.asked[-1]["content"]
        similarity = "exact" if one.similarity is None else f"{one.similarity:.4f}"
        head = f"served at {tried.name} ({one.pair.kind}, {similarity}):"
        console.print(head, style="red", highlight=False, markup=False)
        console.print(f"  asked   {asked[:160]}\n  stored  {stored[:160]}", highlight=False, markup=False)
    if len(wrong) > show:
        console.print(f"… and {len(wrong) - show} more traps at {tried.name}", markup=False)
