"""What one model charges, and the exact integer arithmetic that turns tokens into nanodollars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, auto

from semcache.model import NANOUSD_PER_USD, Cost, Usage

MAX_TOKENS = 1_000_000_000
"""Tokens; a larger count is impossible and is cut to it. Times the dearest price it still fits 64 bits."""
MAX_USD_PER_MILLION = Decimal(1_000_000)
"""Above any real price: an override that exceeds it has the wrong unit."""

_TOKENS_PER_PRICE = 1_000_000
CALLS_PER_PRICE = 1000
"""Providers name the price of a thousand calls of a tool."""


class PartGroup(Enum):
    """What a part of a usage is counted in."""

    INPUT = auto()
    CACHED_INPUT = auto()
    CACHE_WRITE = auto()
    OUTPUT = auto()
    CALLS = auto()
    """Calls of the provider's own tools: they are beside all tokens."""


PART_GROUPS: Mapping[str, PartGroup] = {
    **{f"input_{kind}": PartGroup.INPUT for kind in ("audio", "image", "video")},
    **{f"cached_{kind}": PartGroup.CACHED_INPUT for kind in ("audio", "image", "video")},
    "cache_write_1h": PartGroup.CACHE_WRITE,
    **{f"output_{kind}": PartGroup.OUTPUT for kind in ("audio", "image", "video", "reasoning", "citation")},
    "web_searches": PartGroup.CALLS,
    "social_searches": PartGroup.CALLS,
    "storage_searches": PartGroup.CALLS,
    "search_sources": PartGroup.CALLS,
    "code_executions": PartGroup.CALLS,
    "audio_seconds": PartGroup.CALLS,
    **{f"search_context_{size}": PartGroup.CALLS for size in ("low", "medium", "high")},
}
"""The parts of a usage that may have a price of their own (`Usage.parts`)."""
TOLD_FEE = "told_fee"
"""The part of a usage that is the call's fee as the upstream tells it, in nanodollars."""
_FREE_SUFFIX = ":free"


def is_free(model: str) -> bool:
    """Return whether a model's name says that it costs nothing, as OpenRouter's names do (`…:free`)."""
    return model.lower().endswith(_FREE_SUFFIX)


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


def part_rate(name: str, usd: Decimal) -> Rate:
    """Return the rate of a part, whose price is for a million tokens or for a thousand calls."""
    return Rate.of(usd, per=CALLS_PER_PRICE if PART_GROUPS[name] is PartGroup.CALLS else _TOKENS_PER_PRICE)


@dataclass(frozen=True, slots=True)
class Band:
    """The rates of a call with more than `above` input tokens; they hold for all its tokens.

    Attributes:
        cached_input: for tokens that were read from the provider's prompt cache.
        cache_write: for tokens that were written to it.
        parts: for the parts of a usage that have a rate of their own, by name.
    """

    above: int
    input: Rate
    cached_input: Rate
    output: Rate
    cache_write: Rate
    parts: Mapping[str, Rate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tariff:
    """What one model charges.

    Attributes:
        bands: the highest `above` first, the last at -1.
        price_version: where the prices are from.
        call_fee: a fixed fee per call.
        lacks_tier: whether it is the standard price for a service tier whose own price isn't known.
        lacks_search: whether the search of the web that the model's name asks for isn't in it.
        is_largest_fee: whether the fee is that of the largest search context; a fee that an upstream tells is taken in
            its place.
        is_flat: whether it holds for every part of a usage, so that none lacks a price of its own.
    """

    bands: tuple[Band, ...]
    price_version: str
    call_fee: Rate = FREE
    lacks_tier: bool = False
    is_flat: bool = False
    lacks_search: bool = False
    is_largest_fee: bool = False

    def charge(self, usage: Usage) -> Cost:
        """Return the cost of one call, each part rounded to the nanodollar by itself: the parts add up to the total.

        Impossible counts are clamped: negative ones to 0, cached input to the input, any count to `MAX_TOKENS`. Tokens
        that are written to the provider's prompt cache, calls of tools, and the fee per call, are in the input's part.
        A part of the usage without a rate of its own is charged as the tokens around it, and the cost says so.
        """
        tokens = min(max(usage.input_tokens, 0), MAX_TOKENS)
        cached = min(max(usage.cached_input_tokens, 0), tokens)
        written = min(max(usage.cache_write_tokens, 0), tokens - cached)
        output = min(max(usage.output_tokens, 0), MAX_TOKENS)
        bands = self.bands
        band = bands[0]
        if len(bands) > 1:
            band = next(b for b in bands if tokens > b.above)
        left = {
            PartGroup.INPUT: tokens - cached - written,
            PartGroup.CACHED_INPUT: cached,
            PartGroup.CACHE_WRITE: written,
            PartGroup.OUTPUT: output,
        }
        extra, partly = dict.fromkeys(PartGroup, 0), self.lacks_tier or self.lacks_search
        if usage.parts and not self.is_flat:
            partly = self._charge_parts(usage.parts, band, left, extra) or partly
        fee = self._fee(usage) + extra[PartGroup.CALLS]
        writes = band.cache_write.charge(left[PartGroup.CACHE_WRITE]) + extra[PartGroup.CACHE_WRITE]
        return Cost(
            band.input.charge(left[PartGroup.INPUT]) + extra[PartGroup.INPUT] + writes + fee,
            band.cached_input.charge(left[PartGroup.CACHED_INPUT]) + extra[PartGroup.CACHED_INPUT],
            band.output.charge(left[PartGroup.OUTPUT]) + extra[PartGroup.OUTPUT],
            priced=True,
            price_version=self.price_version,
            partly_priced=partly,
        )

    def _fee(self, usage: Usage) -> int:
        told = dict(usage.parts).get(TOLD_FEE) if self.is_largest_fee else None
        return self.call_fee.charge(1) if told is None else told

    def _is_in_fee(self, part: str) -> bool:
        """Return whether a fee per call has the price of this part in it."""
        if self.call_fee.numerator == 0:
            return False
        if part.startswith("search_context_"):
            return not self.is_largest_fee or part == "search_context_high"
        return part in {"web_searches", TOLD_FEE}

    def _charge_parts(
        self,
        parts: Sequence[tuple[str, int]],
        band: Band,
        left: dict[PartGroup, int],
        extra: dict[PartGroup, int],
    ) -> bool:
        """Charge the parts that have a rate of their own; return whether a part has none.

        Args:
            parts: of the usage.
            band: the rates.
            left: tokens by group; those that are charged here are taken away.
            extra: nanodollars by group; what is charged here is added.
        """
        partly = False
        for name, count in parts:
            group, rate = PART_GROUPS.get(name, PartGroup.CALLS), band.parts.get(name)
            if rate is None:
                # Reasoning has the price of other output.
                partly = partly or not (name == "output_reasoning" or self._is_in_fee(name))
                continue
            charged = min(count, left.get(group, MAX_TOKENS))
            extra[group] += rate.charge(charged)
            if group in left:
                left[group] -= charged
            partly = partly or charged < count
        return partly


FREE_TARIFF = Tariff((Band(-1, FREE, FREE, FREE, FREE),), "free", is_flat=True)
"""The tariff of what costs nothing."""
