"""Presents the results of `semcache eval`: tables for people, one JSON object for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from semcache.evaluation.labels.pairs import LabelledPair
from semcache.evaluation.replay.playing_pairs import PlayedPair
from semcache.evaluation.statistics.scoring import Change, Comparison, Proportion, Score, compare, score


@dataclass(frozen=True, slots=True)
class TriedSetting:
    """One setting applied to the pairs of a file.

    Attributes:
        name: the setting's name in tables.
        threshold: the similarity threshold that applied.
        played: the pairs as the server answered them.
        served: whether the setting serves each of `played`.
    """

    name: str
    threshold: float
    played: tuple[PlayedPair, ...]
    served: tuple[bool, ...]

    @property
    def results(self) -> tuple[tuple[LabelledPair, bool], ...]:
        """Each pair with whether it was served."""
        return tuple((item.pair, flag) for item, flag in zip(self.played, self.served, strict=True))


def as_json(name: str, settings: Sequence[TriedSetting], skipped: int) -> dict[str, object]:
    """Return the results of one file, and the number of its records left out, as an object for `json.dumps`."""
    first, *others = settings
    return {
        "file": name,
        "records_left_out": skipped,
        "scores": [
            {"policy": setting.name, **_score_as_json(score(setting.threshold, setting.results))}
            for setting in settings
        ],
        "differences": [
            {"policy": setting.name, "from": first.name, **_comparison_as_json(compare(first.results, setting.results))}
            for setting in others
        ],
    }


def print_tables(console: Console, name: str, settings: Sequence[TriedSetting], show: int) -> None:
    """Print the scores of one file, their differences from the first setting's, and the served traps."""
    first, *others = settings
    console.print(_scores(name, [(setting.name, score(setting.threshold, setting.results)) for setting in settings]))
    if others:
        compared = [(setting.name, compare(first.results, setting.results)) for setting in others]
        console.print(_differences(first.name, compared))
    for setting in settings:
        _print_wrong(console, setting, show)


def _score_as_json(item: Score) -> dict[str, object]:
    return {
        "threshold": item.threshold,
        "hits": _rate_as_json(item.hits),
        "traps": _rate_as_json(item.traps),
        "wrong_of_served": _rate_as_json(item.wrong),
        "kinds": [{"kind": kind.kind, "same": kind.same, **_rate_as_json(kind.served)} for kind in item.kinds],
    }


def _rate_as_json(rate: Proportion) -> dict[str, object]:
    return {
        "count": rate.count,
        "of": rate.of,
        "share": rate.share,
        "interval_95": rate.interval,
        "interval_method": rate.method,
        "independent_groups": rate.groups,
    }


def _comparison_as_json(item: Comparison) -> dict[str, object]:
    changes = {"hits": item.hits, "traps": item.traps, "wrong_of_served": item.wrong}
    return {name: {"difference": change.difference, "interval_95": change.interval} for name, change in changes.items()}


def _scores(name: str, scores: Sequence[tuple[str, Score]]) -> Table:
    table = Table("setting", "pairs", "served", "of", "%", "95 % interval", title=name, title_justify="left")
    for column in table.columns[:2]:
        column.overflow = "fold"  # A kind that is cut short can't be identified.
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


def _row(table: Table, setting: str, what: str, rate: Proportion, style: str) -> None:
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
        table.add_row(setting, *(_change(change) for change in (item.hits, item.traps, item.wrong)))
    return table


def _change(change: Change) -> str:
    if change.difference is None:
        return "–"
    text = f"{100 * change.difference:+.1f}"
    if change.interval is not None:
        text += f" ({100 * change.interval[0]:+.1f} to {100 * change.interval[1]:+.1f})"
    return text


def _print_wrong(console: Console, setting: TriedSetting, show: int) -> None:
    wrong = [item for item, flag in zip(setting.played, setting.served, strict=True) if flag and not item.pair.same]
    for item in wrong[:show]:
        stored, asked = item.pair.stored[-1]["content"], item.pair.asked[-1]["content"]
        similarity = "exact" if item.similarity is None else f"{item.similarity:.4f}"
        head = f"served at {setting.name} ({item.pair.kind}, {similarity}):"
        console.print(head, style="red", highlight=False, markup=False)
        console.print(f"  asked   {asked[:160]}\n  stored  {stored[:160]}", highlight=False, markup=False)
    if len(wrong) > show:
        console.print(f"… and {len(wrong) - show} more traps at {setting.name}", markup=False)
