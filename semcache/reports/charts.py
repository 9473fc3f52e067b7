"""Draws charts as inline SVG. They take their colours from the page, so that one drawing suits light and dark."""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from semcache.errors import StartError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT, FIRST, SECOND, MARK = "#010101", "#020202", "#030303", "#040404", "#050505"
"""Placeholders for the page's colours while matplotlib draws; nothing else in a drawing has these values."""
_COLOURS = {
    INK: "currentColor",
    FAINT: "var(--faint)",
    FIRST: "var(--first)",
    SECOND: "var(--second)",
    MARK: "var(--mark)",
}
SIZE_INCHES = (6.4, 3.6)
BAR_INCHES = 0.3
"""Height that each bar adds to a chart of horizontal bars."""
Legend = Literal["inside", "above", "none"]
"""The legend's place. "none" is for bar charts, whose grid has no horizontal lines."""
_DROPPED = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", re.DOTALL)
_NAMES = re.compile(r'(\bid="|url\(#|xlink:href="#)')


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Attributes:
        name: its name in the legend.
        x: shape (points,).
        y: shape (points,).
        colour: one of this module's colours.
        style: solid, dashed or dotted, so that curves can be told apart without colours.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: str
    style: str = "solid"


@dataclass(frozen=True, slots=True)
class Mark:
    """A named place in a chart: a point, or a vertical line if `y` is None."""

    name: str
    x: float
    y: float | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: its label and its ends; an end of None follows the data."""

    label: str
    low: float | None = None
    high: float | None = None


def require_charts(option: str = "--report") -> None:
    """Raise if charts can't be drawn.

    Args:
        option: the option that asked for a page, for the error's hint.

    Raises:
        StartError: matplotlib isn't installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise StartError(
            "matplotlib is not installed, and a report's charts are drawn with it.",
            hint=f"Install semcache-server[reports], or leave {option} out.",
        )


def line_chart(name: str, lines: Sequence[Line], marks: Sequence[Mark], x: Axis, y: Axis) -> str:
    """Return curves over one pair of axes as an SVG element; `name` must be unique on the page."""

    def draw(axes: Axes) -> None:
        for line in lines:
            axes.plot(line.x, line.y, color=line.colour, linestyle=line.style, linewidth=1.8, label=line.name)
        for mark in marks:
            if mark.y is None:
                axes.axvline(mark.x, color=MARK, linewidth=1.8, linestyle=(0, (1, 1.5)), label=mark.name)
            else:
                axes.plot([mark.x], [mark.y], color=MARK, marker="o", markersize=7, linestyle="", label=mark.name)
        label_axes(axes, x, y)

    return drawn(name, draw, SIZE_INCHES)


def histogram(
    name: str, groups: Sequence[tuple[str, NDArray[np.float64], str]], marks: Sequence[Mark], x: Axis, y: Axis
) -> str:
    """Return a histogram as an SVG element; `name` must be unique on the page.

    Args:
        name: of the drawing.
        groups: each is (name, values of shape (values,), colour); a bar is a share of its group.
        marks: values to mark with vertical lines.
        x: the axis of the values.
        y: the axis of the shares.
    """

    def draw(axes: Axes) -> None:
        together = np.concatenate([values for _, values, _ in groups])
        low, high = (float(together.min()), float(together.max())) if together.size else (0.0, 1.0)
        bins = np.linspace(low, max(high, low + 1e-3), 41)
        for number, (group, values, colour) in enumerate(groups):
            if values.size:
                weights = np.full(values.size, 1.0 / values.size)
                axes.hist(values, bins=bins.tolist(), weights=weights, color=colour, alpha=0.3)
                axes.hist(
                    values,
                    bins=bins.tolist(),
                    weights=weights,
                    histtype="step",
                    color=colour,
                    linewidth=1.6,
                    linestyle="--" if number else "-",
                    label=group,
                )
        for mark in marks:
            axes.axvline(mark.x, color=MARK, linewidth=1.8, linestyle=(0, (1, 1.5)), label=mark.name)
        label_axes(axes, x, y)

    return drawn(name, draw, SIZE_INCHES)


def bar_chart(name: str, bars: Sequence[tuple[str, int, int]], x: Axis) -> str:
    """Return horizontal bars as an SVG element, one for each (name, count, of), labelled with both numbers."""

    def draw(axes: Axes) -> None:
        places = np.arange(len(bars))
        counts = [count for _, count, _ in bars]
        axes.barh(places, counts, color=SECOND, height=0.66)
        axes.set_yticks(places, [short(bar) for bar, _, _ in bars])
        axes.invert_yaxis()
        for place, (_, count, of) in zip(places, bars, strict=True):
            axes.annotate(
                f"{count:,} of {of:,}",
                (count, float(place)),
                (5, 0),
                textcoords="offset points",
                va="center",
                color=INK,
            )
        axes.set_xlim(0, 1.22 * max([*counts, 1]))
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel(x.label, color=INK)

    return drawn(name, draw, (SIZE_INCHES[0], 0.9 + BAR_INCHES * max(2, len(bars))), legend="none")


def short(text: str) -> str:
    """Shorten a label so that it fits beside a bar."""
    return text if len(text) <= 28 else text[:27] + "…"


def label_axes(axes: Axes, x: Axis, y: Axis) -> None:
    """Set the labels and the ends of both axes."""
    axes.set_xlabel(x.label, color=INK)
    axes.set_ylabel(y.label, color=INK)
    axes.set_xlim(x.low, x.high)
    axes.set_ylim(y.low, y.high)


def drawn(
    name: str, draw: Callable[[Axes], None], size_inches: tuple[float, float], *, legend: Legend = "inside"
) -> str:
    """Return a drawing as an SVG element in the page's colours.

    Args:
        name: of the drawing, unique on the page.
        draw: draws on the axes that it is given.
        size_inches: width and height.
        legend: the legend's place.
    """
    # pyplot isn't used, because it keeps every figure and looks for a display.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Text stays text, so that the page's font and the reader's font size apply to it.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 10, "text.parse_math": False}):
        figure = Figure(figsize=size_inches, layout="constrained")
        figure.patch.set_alpha(0.0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0.0)
        for side, spine in axes.spines.items():
            spine.set_visible(side in {"left", "bottom"})
            spine.set_color(FAINT)
        axes.tick_params(color=FAINT, labelcolor=INK)
        axes.grid(visible=True, axis="x" if legend == "none" else "both", color=FAINT, linewidth=0.5, alpha=0.4)
        axes.set_axisbelow(True)
        draw(axes)
        if legend == "inside":
            axes.legend(frameon=False, labelcolor=INK, loc="best")
        elif legend == "above":
            axes.legend(frameon=False, labelcolor=INK, loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=2)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    svg = _DROPPED.sub("", written.getvalue()).strip()
    # Element ids are global in a page, so each drawing's ids get its name as a prefix.
    svg = _NAMES.sub(lambda match: f"{match.group(1)}{name}-", svg)
    for stand_in, colour in _COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg
