"""Presents the results of `semcache tune`: tables for people, one JSON object for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from semcache.evaluation.tune.advising import as_toml, notes, summary
from semcache.evaluation.tune.choosing import ThresholdChoice
from semcache.evaluation.tune.curves import Point
from semcache.evaluation.tune.tuning import Part, Tuning


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of the labels: files, or a store.

    Attributes:
        files: the files, as they were named.
        store: the store's folder; None for files.
        without_verdict: hits of the store that have no verdict.
        without_entry: judged hits whose entry is gone.
        damaged: rows of the store that can't be read.
        records_left_out: records of the files that ask nothing.
        texts_left_out: texts that stand under two names, so that what answers them is unknown.
        background: prompts of other traffic that the labelled texts meet.
        tuned_for: what computed the similarities; empty if that is unknown.
    """

    files: tuple[str, ...]
    store: Path | None = None
    without_verdict: int = 0
    without_entry: int = 0
    damaged: int = 0
    records_left_out: int = 0
    texts_left_out: int = 0
    background: int = 0
    tuned_for: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The sources, a few words each."""
        if self.store is None:
            return self.files
        return (f"judged hits of {self.store}",)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The kinds of hits that were left out, a few words each."""
        counts = (
            (self.without_verdict, "without a verdict"),
            (self.without_entry, "whose entry is gone"),
            (self.damaged, "damaged"),
        )
        left_out = [f"{count:,} hits {what}" for count, what in counts if count]
        if self.texts_left_out:
            left_out.append(f"{self.texts_left_out:,} texts under two names")
        return tuple(left_out)


def as_json(tuning: Tuning, sources: Sources) -> dict[str, object]:
    """Return all results as an object for `json.dumps`, with every distinct threshold."""
    budget = tuning.question.budget
    scored = tuning.guarded.scored
    return {
        "sources": list(sources.names),
        "records_left_out": sources.records_left_out,
        "left_out": {
            "without_verdict": sources.without_verdict,
            "without_entry": sources.without_entry,
            "damaged": sources.damaged,
        },
        "texts_left_out": sources.texts_left_out,
        "background": sources.background,
        "tuned_for": sources.tuned_for,
        "pairs": tuning.pairs,
        "hits": len(set(scored.numbers[scored.same].tolist())),
        "traps": len(set(scored.numbers[~scored.same].tolist())),
        "requests": scored.requests,
        "independent_units": tuning.units.count,
        "units_are": tuning.units.basis,
        "out_of_fold": asdict(tuning.out_of_fold) | {"wrong_ratio": tuning.out_of_fold.wrong_ratio},
        "max_wrong_hit_ratio": budget.max_wrong_ratio,
        "confidence": budget.confidence,
        "trap_share": tuning.question.mix.trap_share,
        "cost_of_wrong_usd": tuning.question.cost_of_wrong_usd,
        "summary": summary(tuning),
        "recommendation": _choice(tuning.choice, tuning.chosen),
        "toml": as_toml(tuning, sources.tuned_for),
        "in_force": asdict(tuning.current) | {"guards": tuning.question.current.decision.guards},
        "parts": [
            {"field": part.field, "name": part.name, "pairs": part.pairs, **_choice(part.choice, part.point)}
            for part in tuning.parts
        ],
        "variants": [
            {
                "name": variant.name,
                "guards": list(variant.guards),
                "thresholds": [asdict(point) for point in variant.points],
            }
            for variant in tuning.variants
        ],
        "dollars": tuning.worth.basis,
        "estimated_costs": tuning.worth.estimated,
        "notes": list(notes(tuning, from_store=sources.store is not None)),
    }


def print_tuning(console: Console, tuning: Tuning, sources: Sources) -> None:
    """Print the verdict and the setting to paste, then tables of thresholds and parts, then what limits the proof."""
    console.print(summary(tuning), style="bold", markup=False, highlight=False)
    if tuning.chosen is not None:
        console.print(tuning.choice.reason, markup=False, highlight=False)
    pasted = as_toml(tuning, sources.tuned_for)
    if pasted:
        console.print()
        console.print(pasted, markup=False, highlight=False, soft_wrap=True)
    for variant in tuning.variants:
        console.print(_thresholds(variant.title, tuning.table_points(variant), tuning))
    if tuning.parts:
        console.print(_parts(tuning.parts))
    if sources.left_out:
        console.print("Left out: " + ", ".join(sources.left_out) + ".", markup=False, highlight=False)
    for note in notes(tuning, from_store=sources.store is not None):
        console.print(note, style="dim", markup=False, highlight=False)


def _choice(choice: ThresholdChoice, point: Point | None) -> dict[str, object]:
    return {
        "proven": None if choice.proven is None else asdict(choice.proven),
        "failed": None if choice.failed is None else asdict(choice.failed),
        "serves": None if point is None else asdict(point),
        "shortfall": None if choice.shortfall is None else asdict(choice.shortfall),
        "reason": choice.reason,
    }


def _thresholds(title: str, points: Sequence[Point], tuning: Tuning) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("threshold", "hits", "traps", "wrong %", "95 %", "bound %", "hit ratio %", "$ / 1,000"):
        table.add_column(name, justify="right", no_wrap=" " not in name.removesuffix(" %"))
    chosen = None if tuning.chosen is None else tuning.chosen.threshold
    for point in points:
        in_force = point.threshold == tuning.current.threshold
        table.add_row(
            f"{point.threshold:g}" + (" *" if in_force else ""),
            f"{point.hits:,.0f}",
            f"{point.traps:,.0f}",
            "–" if point.wrong_share is None else f"{100 * point.wrong_share:.2f}",
            _interval(point),
            "" if point.wrong_upper is None else f"{100 * point.wrong_upper:.1f}",
            f"{100 * point.hit_ratio:.1f}",
            f"{point.net_usd:,.4f}",
            style="bold green" if point.threshold == chosen else "",
        )
    table.caption = "*: in force"
    return table


def _interval(point: Point) -> str:
    if point.wrong_interval is None:
        return ""
    low, high = point.wrong_interval
    return f"{100 * low:.1f}–{100 * high:.1f}"


def _parts(parts: Sequence[Part]) -> Table:
    table = Table("", "pairs", "threshold", "hits", "traps", "why", title="By namespace and task type")
    table.title_justify = "left"
    for column in table.columns[1:5]:
        column.justify = "right"
    for part in parts:
        proven, point = part.choice.proven, part.point
        table.add_row(
            f"{part.field.replace('_', ' ')} {part.name}",
            f"{part.pairs:,}",
            "–" if proven is None else f"{proven.threshold:g}",
            "" if point is None else f"{point.hits:,.0f}",
            "" if point is None else f"{point.traps:,.0f}",
            part.choice.reason,
        )
    return table
