"""What one model charges, and the exact integer arithmetic that turns tokens into nanodollars."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from semcache.model import NANOUSD_PER_USD, Cost, Usage

MAX_TOKENS = 1_000_000_000
"""A usage above this is nonsense and is cut to it; the product with the dearest price still fits 64 bits."""
MAX_USD_PER_MILLION = Decimal(1_000_000)
"""Dearer than any price there is; an override above it is a slip of units."""

_TOKENS_PER_PRICE = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """Nanodollars for one unit as an exact fraction: `numerator / denominator`, the denominator a power of ten."""

    numerator: int
    denominator: int = 1

    @classmethod
    def of(cls, usd: Decimal, per: int = _TOKENS_PER_PRICE) -> Rate:
        """The rate of `usd` dollars for `per` units, without rounding."""
        numerator, denominator = (usd * NANOUSD_PER_USD / per).as_integer_ratio()
        return cls(numerator, denominator)

    def charge(self, units: int) -> int:
        """Nanodollars for `units`, rounded half to even: errors of many requests cancel instead of adding up."""
        if self.denominator == 1:
            return units * self.numerator
        whole, rest = divmod(units * self.numerator, self.denominator)
        twice = 2 * rest
        if twice > self.denominator or (twice == self.denominator and whole & 1):
            return whole + 1
        return whole


FREE = Rate(0)


@dataclass(frozen=True, slots=True)
class Band:
    """The rates of a call with more than `above` input tokens. They hold for all its tokens, not for those beyond.

    `cached_input` is for tokens read from the provider's prompt cache, `cache_write` for those written to it.
    """

    above: int
    input: Rate
    cached_input: Rate
    output: Rate
    cache_write: Rate


@dataclass(frozen=True, slots=True)
class Tariff:
    """A model's bands, highest `above` first and the last at -1; a fixed fee per call; where the prices are from."""

    bands: tuple[Band, ...]
    price_version: str
    call_fee: Rate = FREE

    def charge(self, usage: Usage) -> Cost:
        """The cost of one call, each part rounded to the nanodollar by itself, so that the parts add up to the total.

        Nonsense is clamped: negative counts to 0, cached input to the input, any count to `MAX_TOKENS`. What is written
        to the provider's prompt cache counts as input, and so does a fee per call: both are due before any token comes
        out.
        """
        tokens = min(max(usage.input_tokens, 0), MAX_TOKENS)
        cached = min(max(usage.cached_input_tokens, 0), tokens)
        written = min(max(usage.cache_write_tokens, 0), tokens - cached)
        output = min(max(usage.output_tokens, 0), MAX_TOKENS)
        bands = self.bands
        band = bands[0]
        if len(bands) > 1:
            band = next(b for b in bands if tokens > b.above)
        fee = self.call_fee.charge(1) if self.call_fee.numerator else 0
        return Cost(
            band.input.charge(tokens - cached - written) + (band.cache_write.charge(written) if written else 0) + fee,
            band.cached_input.charge(cached),
            band.output.charge(output),
            True,
            self.price_version,
        )
