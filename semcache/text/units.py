"""Units that people write behind a number, by dimension.

A table of our own: a library of all units reads "5 a day" as five years a day and "2 in a row" as two inches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from semcache.text.tables import lines


@dataclass(frozen=True, slots=True)
class Unit:
    """`factor` base units of the dimension make one; `offset` is added after (temperatures)."""

    name: str
    dimension: str
    factor: Decimal
    offset: Decimal = Decimal(0)


UNITS: Mapping[str, Unit] = {
    name: Unit(name, dimension, Decimal(factor))
    for dimension, factor, *names in map(str.split, lines("units"))
    for name in (name.replace("_", " ") for name in names)
} | {
    # Temperatures have their zero elsewhere: compared in kelvin.
    **{
        name: Unit(name, "temperature", Decimal(1), Decimal("273.15"))
        for name in ("°c", "°C", "celsius", "degrees celsius", "degree celsius", "degrees c", "grad celsius", "℃", "度")
    },
    **{
        name: Unit(name, "temperature", Decimal(5) / Decimal(9), Decimal("255.3722222222"))
        for name in ("°f", "°F", "fahrenheit", "degrees fahrenheit", "degree fahrenheit", "degrees f", "℉")
    },
}
"""By name as written and, where case doesn't matter, folded: "Mb" is a megabit, "mb" mostly a megabyte."""
