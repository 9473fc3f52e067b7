"""What one model charges, and the exact integer arithmetic that turns tokens into nanodollars."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from semcache.model import NANOUSD_PER_USD, Cost, Usage

MAX_TOKENS = 1_000_000_000
"""Tokens; a larger count is impossible and is cut to it. Times the dearest price it still fits 64 bits."""
MAX_USD_PER_MILLION = Decimal(1_000_000)
"""Above any real price: an override that exceeds it has the wrong unit."""

_TOKENS_PER_PRICE = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """Nanodollars for one unit as an exact fraction: `numerator / denominator`, the denominator a power of ten."""

    numerator: int
    denominator: int = 1

    @classmethod
    def of(cls, usd: Decimal, per: int = _TOKENS_PER_PRICE) -> Rate:
        """Return the rate of `usd` dollars for `per` units, without rounding."""
        numerator, denominator = (usd * NANOUSD_PER_USD / per).as_integer_ratio()
        return cls(numerator, denominator)

    def charge(self, units: int) -> int:
        """Return nanodollars for `units`, rounded half to even, so that the errors of many requests cancel out."""
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
    """The rates of a call with more than `above` input tokens; they hold for all its tokens.

    Attributes:
        cached_input: for tokens that were read from the provider's prompt cache.
        cache_write: for tokens that were written to it.
    """

    above: int
    input: Rate
    cached_input: Rate
    output: Rate
    cache_write: Rate


@dataclass(frozen=True, slots=True)
class Tariff:
    """What one model charges.

    Attributes:
        bands: the highest `above` first, the last at -1.
        price_version: where the prices are from.
        call_fee: a fixed fee per call.
    """

    bands: tuple[Band, ...]
    price_version: str
    call_fee: Rate = FREE

    def charge(self, usage: Usage) -> Cost:
        """Return the cost of one call, each part rounded to the nanodollar by itself: the parts add up to the total.

        Impossible counts are clamped: negative ones to 0, cached input to the input, any count to `MAX_TOKENS`. Tokens
        that are written to the provider's prompt cache, and the fee per call, are in the input's part.
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
            priced=True,
            price_version=self.price_version,
        )
