"""Units that people write after a number, by dimension.

The table is our own because a library of all units misreads prompts: "5 a day" as five years a day, and "2 in a row"
as two inches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from semcache.text.tables import lines


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: its value in base units is `number * factor + offset`; only temperatures have an offset."""

    name: str
    dimension: str
    factor: Decimal
    offset: Decimal = Decimal(0)


UNITS: Mapping[str, Unit] = {
    name: Unit(name, dimension, Decimal(factor))
    for dimension, factor, *names in map(str.split, lines("units"))
    for name in (name.replace("_", " ") for name in names)
} | {
    # Celsius and Fahrenheit have different zero points, so temperatures are compared in kelvin.
    **{
        name: Unit(name, "temperature", Decimal(1), Decimal("273.15"))
        for name in ("°c", "°C", "celsius", "degrees celsius", "degree celsius", "degrees c", "grad celsius", "℃", "度")
    },
    **{
        name: Unit(name, "temperature", Decimal(5) / Decimal(9), Decimal("255.3722222222"))
        for name in ("°f", "°F", "fahrenheit", "degrees fahrenheit", "degree fahrenheit", "degrees f", "℉")
    },
}
"""Units by name: as written and, where case doesn't matter, folded. "Mb" is a megabit, "mb" mostly a megabyte."""
