"""Charts of money: what was spent and saved by day and by name, and how what a request costs is spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from semcache.reports.charts import BAR_INCHES, FIRST, INK, MARK, SIZE_INCHES, drawn, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TICKS = 8
_LIMIT_STYLE = (0, (4, 2))
_END = 5  # points between a bar and its label


@dataclass(frozen=True, slots=True)
class Stack:
    """One colour of stacked bars: a value for each place."""

    name: str
    values: Sequence[float]
    colour: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A line that values should stay below or above."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Span:
    """A name with a low, a middle and a high value, all above 0, and what is written beside it."""

    name: str
    low: float
    middle: float
    high: float
    text: str


def stacked_columns(name: str, places: Sequence[str], stacks: Sequence[Stack], y_label: str) -> str:
    """A column for each place, the stacks on each other from below."""

    def draw(axes: Axes) -> None:
        at = np.arange(len(places))
        bottom = np.zeros(len(places))
        for stack in stacks:
            values = np.array(stack.values, dtype=np.float64)
            axes.bar(at, values, bottom=bottom, color=stack.colour, width=0.72, label=stack.name)
            bottom = bottom + values
        _name_places(axes, places)
        axes.set_ylim(0, 1.15 * max(float(bottom.max(initial=0.0)), 1e-9))
        axes.set_ylabel(y_label, color=INK)

    return drawn(name, draw, SIZE_INCHES, legend="above")


def stacked_rows(
    name: str,
    places: Sequence[str],
    stacks: Sequence[Stack],
    ends: Sequence[str],
    x_label: str,
    *,
    whole: float | None = None,
) -> str:
    """A row for each place, the stacks after each other from the left, and at its end what `ends` says.

    With `whole` the values are parts of it, and the axis names no more than it.
    """

    def draw(axes: Axes) -> None:
        at = np.arange(len(places))
        left = np.zeros(len(places))
        for stack in stacks:
            values = np.array(stack.values, dtype=np.float64)
            axes.barh(at, values, left=left, color=stack.colour, height=0.66, label=stack.name)
            left = left + values
        axes.set_yticks(at, [short(place) for place in places])
        axes.invert_yaxis()
        for place, (end, text) in enumerate(zip(left, ends, strict=True)):
            axes.annotate(text, (float(end), place), (_END, 0), textcoords="offset points", va="center", color=INK)
        axes.set_xlim(0, 1.45 * max(float(left.max(initial=0.0)), 1e-9))
        if whole is not None:
            axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= whole])
        axes.set_xlabel(x_label, color=INK)

    # The legend has a row's height of its own above the first bar.
    size = (SIZE_INCHES[0], 1.3 + BAR_INCHES * max(2, len(places)))
    return drawn(name, draw, size, legend="above" if len(stacks) > 1 else "none")


def trend(name: str, places: Sequence[str], values: Sequence[float | None], limit: Limit, y_label: str) -> str:
    """Values place by place, with gaps where there is none, against a limit."""

    def draw(axes: Axes) -> None:
        y = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        # A single day between two gaps has no line, so each has a dot too.
        axes.plot(np.arange(len(places)), y, color=FIRST, linewidth=1.8, marker="o", markersize=3.5, label="by day")
        axes.axhline(limit.value, color=MARK, linewidth=1.8, linestyle=_LIMIT_STYLE, label=limit.name)
        _name_places(axes, places)
        axes.set_ylim(0, 1.25 * max(limit.value, float(np.nanmax(y, initial=0.0))))
        axes.set_ylabel(y_label, color=INK)

    return drawn(name, draw, SIZE_INCHES, legend="above")


def spans(name: str, rows: Sequence[Span], limit: Limit, x_label: str) -> str:
    """A bar from low to high for each row on a logarithmic axis, a dot at its middle, against a limit."""

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        for place, row in enumerate(rows):
            axes.plot([row.low, row.high], [place, place], color=FIRST, linewidth=7, alpha=0.35, solid_capstyle="butt")
            axes.plot([row.middle], [place], color=FIRST, marker="o", markersize=6, linestyle="")
            axes.annotate(row.text, (row.high, place), (_END, 0), textcoords="offset points", va="center", color=INK)
        axes.axvline(limit.value, color=MARK, linewidth=1.8, linestyle=_LIMIT_STYLE, label=limit.name)
        axes.set_yticks(np.arange(len(rows)), [short(row.name) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        low, high = min(row.low for row in rows), max(row.high for row in rows)
        axes.set_xlim(low / 2, 12 * max(high, limit.value))
        axes.set_xlabel(x_label, color=INK)
        axes.minorticks_off()
        # Its own labels are formulas, which nothing on the page could set.
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")

    return drawn(name, draw, (SIZE_INCHES[0], 1.3 + BAR_INCHES * max(2, len(rows))), legend="above")


def _name_places(axes: Axes, places: Sequence[str]) -> None:
    step = max(1, -(-len(places) // _TICKS))
    axes.set_xticks(np.arange(0, len(places), step), places[::step])
    axes.set_xlim(-0.6, max(len(places), 1) - 0.4)
