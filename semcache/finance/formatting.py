"""Figures and names for people: dollars with fitting decimals, percent, counts with a noun, names without controls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from semcache.model import NANOUSD_PER_USD


@dataclass(frozen=True, slots=True)
class Dollars:
    """Writes amounts with one number of decimals, so that a column lines up."""

    decimals: int

    @classmethod
    def fitting(cls, nanousd: Iterable[int]) -> Self:
        """Cents where the largest amount is $100 or more, hundredths of a cent from $1, else millionths of a dollar."""
        largest = max(map(abs, nanousd), default=0)
        if not largest:
            return cls(2)
        return cls(2 if largest >= 100 * NANOUSD_PER_USD else 4 if largest >= NANOUSD_PER_USD else 6)

    def of(self, nanousd: int) -> str:
        """Nanodollars as dollars, rounded half to even; without a dollar sign."""
        return exactly(Fraction(nanousd, NANOUSD_PER_USD), self.decimals)

    def with_sign(self, nanousd: int) -> str:
        """The same within a sentence: $1.50, -$0.30."""
        return f"{'-' if nanousd < 0 else ''}${self.of(abs(nanousd))}"


def exactly(usd: Fraction, decimals: int) -> str:
    """An exact amount with a number of decimals, rounded half to even, thousands apart."""
    scaled = round(usd * 10**decimals)
    whole, rest = divmod(abs(scaled), 10**decimals)
    sign = "-" if scaled < 0 else ""
    return f"{sign}{whole:,}" + (f".{rest:0{decimals}}" if decimals else "")


def per_request(usd: float | None) -> str:
    """What one request costs: millionths of a dollar."""
    return "–" if usd is None else f"{usd:,.6f}"


def percent(value: float | None) -> str:
    """One decimal, without a sign."""
    return "–" if value is None else f"{value:,.1f}"


def counted(count: int, noun: str) -> str:
    """A number and what it is of: 1 request, 2 requests."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def printable(name: str) -> str:
    """A name that callers chose, fit for a terminal and a drawing: what isn't printable becomes a question mark."""
    return "".join(character if character.isprintable() else "?" for character in name)
