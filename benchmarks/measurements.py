"""The results of a benchmark: medians with their range over the rounds, and their targets."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured quantity; `values` has one number for each round.

    Attributes:
        at_most, at_least: the target, where there is one; the median is compared with it.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Return whether the target is met, None without a target."""
        if self.at_most is not None:
            return self.median <= self.at_most
        return None if self.at_least is None else self.median >= self.at_least

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return "" if self.at_least is None else f"≥ {self.at_least:g}"

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "low": min(self.values),
            "high": max(self.values),
            "rounds": len(self.values),
            "target": self.target,
            "met": self.met,
        }


def ratios(over: Sequence[float], under: Sequence[float]) -> tuple[float, ...]:
    """Return the ratio of each round, so that a noisy moment affects both sides."""
    return tuple(a / b for a, b in zip(over, under, strict=True))


def differences(over: Sequence[float], under: Sequence[float]) -> tuple[float, ...]:
    return tuple(a - b for a, b in zip(over, under, strict=True))


def report(
    name: str,
    measurements: Sequence[Measurement],
    *,
    notes: Sequence[str] = (),
    details: Mapping[str, Any] | None = None,
) -> None:
    """Print the table, the notes and, as the last line, one JSON object."""
    width = max(len(measurement.name) for measurement in measurements)
    print(f"\n{name}")
    print(f"{'':<{width}}  {'median':>9}  {'lowest – highest':>21}  {'rounds':>6}  {'target':>8}")
    for measurement in measurements:
        spread = f"{_short(min(measurement.values))} – {_short(max(measurement.values))}"
        verdict = {None: "", True: "met", False: "MISSED"}[measurement.met]
        unit = f" {measurement.unit}" if measurement.unit else ""
        rounds = len(measurement.values)
        print(
            f"{measurement.name:<{width}}  {_short(measurement.median):>9}  {spread:>21}  {rounds:>6}  "
            f"{measurement.target:>8}  {unit.strip():<3} {verdict}"
        )
    for note in notes:
        print(f"  {note}")
    print(
        json.dumps(
            {
                "benchmark": name,
                "measurements": [measurement.as_json() for measurement in measurements],
                "notes": list(notes),
                "details": dict(details or {}),
            }
        )
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
