"""Draws charts of money: spent and saved by time and by name, and the range of what one request costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from semcache.reports.charts import BAR_INCHES, FIRST, INK, MARK, SIZE_INCHES, drawn, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TICKS = 8
"""Labels on an axis at most: more would overlap."""
_LIMIT_STYLE = (0, (4, 2))
_LABEL_GAP_POINTS = 5
"""Between a bar and its label."""


@dataclass(frozen=True, slots=True)
class StackedSeries:
    """One series of stacked bars: a value for each place, in one colour."""

    name: str
    values: Sequence[float]
    colour: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that values should stay below or above, drawn as a line."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class RangeBar:
    """A bar from a low to a high value with a dot at the middle one, all above 0, and a text beside it."""

    name: str
    low: float
    middle: float
    high: float
    text: str


def stacked_columns(name: str, places: Sequence[str], stacks: Sequence[StackedSeries], y_label: str) -> str:
    """Return stacked columns as an SVG element, one column for each place; `name` must be unique on the page."""

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
    stacks: Sequence[StackedSeries],
    ends: Sequence[str],
    x_label: str,
    *,
    whole: float | None = None,
) -> str:
    """Return stacked horizontal bars as an SVG element, one bar for each place.

    Args:
        name: of the drawing, unique on the page.
        places: the bars' names.
        stacks: the series; their values follow each other from the left.
        ends: the text at the end of each bar.
        x_label: the label of the horizontal axis.
        whole: the value of which all values are parts; the axis has no ticks beyond it. None for no such value.
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
            axes.annotate(
                text, (float(end), place), (_LABEL_GAP_POINTS, 0), textcoords="offset points", va="center", color=INK
            )
        axes.set_xlim(0, 1.45 * max(float(left.max(initial=0.0)), 1e-9))
        if whole is not None:
            axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= whole])
        axes.set_xlabel(x_label, color=INK)

    # The height includes a row for the legend above the first bar.
    size = (SIZE_INCHES[0], 1.3 + BAR_INCHES * max(2, len(places)))
    return drawn(name, draw, size, legend="above" if len(stacks) > 1 else "none")


def trend(name: str, places: Sequence[str], values: Sequence[float | None], limit: Limit, y_label: str) -> str:
    """Return values over places as a line with a limit, as an SVG element; None values are gaps."""

    def draw(axes: Axes) -> None:
        y = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        # A single value between two gaps has no line, so every value has a dot.
        axes.plot(np.arange(len(places)), y, color=FIRST, linewidth=1.8, marker="o", markersize=3.5, label="by day")
        axes.axhline(limit.value, color=MARK, linewidth=1.8, linestyle=_LIMIT_STYLE, label=limit.name)
        _name_places(axes, places)
        axes.set_ylim(0, 1.25 * max(limit.value, float(np.nanmax(y, initial=0.0))))
        axes.set_ylabel(y_label, color=INK)

    return drawn(name, draw, SIZE_INCHES, legend="above")


def range_bars(name: str, rows: Sequence[RangeBar], limit: Limit, x_label: str) -> str:
    """Return ranges on a logarithmic axis with a limit, as an SVG element."""

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        for place, row in enumerate(rows):
            axes.plot([row.low, row.high], [place, place], color=FIRST, linewidth=7, alpha=0.35, solid_capstyle="butt")
            axes.plot([row.middle], [place], color=FIRST, marker="o", markersize=6, linestyle="")
            axes.annotate(
                row.text, (row.high, place), (_LABEL_GAP_POINTS, 0), textcoords="offset points", va="center", color=INK
            )
        axes.axvline(limit.value, color=MARK, linewidth=1.8, linestyle=_LIMIT_STYLE, label=limit.name)
        axes.set_yticks(np.arange(len(rows)), [short(row.name) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        low, high = min(row.low for row in rows), max(row.high for row in rows)
        axes.set_xlim(low / 2, 12 * max(high, limit.value))
        axes.set_xlabel(x_label, color=INK)
        axes.minorticks_off()
        # matplotlib's own labels are formulas, which a page can't typeset.
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")

    return drawn(name, draw, (SIZE_INCHES[0], 1.3 + BAR_INCHES * max(2, len(rows))), legend="above")


def _name_places(axes: Axes, places: Sequence[str]) -> None:
    step = max(1, -(-len(places) // _TICKS))
    axes.set_xticks(np.arange(0, len(places), step), places[::step])
    axes.set_xlim(-0.6, max(len(places), 1) - 0.4)
