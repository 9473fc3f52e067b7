"""Formats values for people: dollars with fitting decimals, percent, counts with a noun, names without controls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from semcache.model import NANOUSD_PER_USD


@dataclass(frozen=True, slots=True)
class Dollars:
    """Writes amounts with a fixed number of decimals, so that a column lines up."""

    decimals: int

    @classmethod
    def fitting(cls, nanousd: Iterable[int]) -> Self:
        """Choose the decimals for amounts by the largest: 2 from $100, 4 from $1, else 6; 2 if all are 0."""
        largest = max(map(abs, nanousd), default=0)
        if not largest:
            return cls(2)
        return cls(2 if largest >= 100 * NANOUSD_PER_USD else 4 if largest >= NANOUSD_PER_USD else 6)

    def of(self, nanousd: int) -> str:
        """Return nanodollars as dollars without a dollar sign, rounded half to even."""
        return exactly(Fraction(nanousd, NANOUSD_PER_USD), self.decimals)

    def with_sign(self, nanousd: int) -> str:
        """Return nanodollars as dollars for a sentence: $1.50, -$0.30."""
        return f"{'-' if nanousd < 0 else ''}${self.of(abs(nanousd))}"


def exactly(usd: Fraction, decimals: int) -> str:
    """Return an exact amount with a number of decimals, rounded half to even, with commas between thousands."""
    scaled = round(usd * 10**decimals)
    whole, rest = divmod(abs(scaled), 10**decimals)
    sign = "-" if scaled < 0 else ""
    return f"{sign}{whole:,}" + (f".{rest:0{decimals}}" if decimals else "")


def per_request(usd: float | None) -> str:
    """Return the dollars of one request with six decimals, or a dash for None."""
    return "–" if usd is None else f"{usd:,.6f}"


def percent(value: float | None) -> str:
    """Return a percentage with one decimal and without a percent sign, or a dash for None."""
    return "–" if value is None else f"{value:,.1f}"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: 1 request, 2 requests."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def printable(name: str) -> str:
    """Return a name that callers chose with a question mark for each unprintable character, safe for a terminal."""
    return "".join(character if character.isprintable() else "?" for character in name)
