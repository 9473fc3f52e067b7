"""Tokens and dollars: what one upstream call used, and what that costs."""

from __future__ import annotations

from typing import NamedTuple

NANOUSD_PER_USD = 1_000_000_000
_STANDARD_TIERS = frozenset({"default", "standard", "auto", "on_demand", "standard_only"})
"""The names that providers have for the service tier with the standard price."""
_MAX_TIER_CHARS = 32


def standard_or(tier: str) -> str:
    """Return a service tier's name as a usage has it: empty for the standard one, otherwise in lower case."""
    name = tier.strip().lower()[:_MAX_TIER_CHARS]
    return "" if name in _STANDARD_TIERS else name


class Usage(NamedTuple):
    """Tokens of one upstream call.

    Attributes:
        input_tokens: all input, `cached_input_tokens` and `cache_write_tokens` included.
        cached_input_tokens: tokens that were read from the provider's prompt cache.
        estimated: whether a number is an estimate, since the upstream sent none or an impossible one.
        cache_write_tokens: tokens that were written to the provider's prompt cache.
        service_tier: the provider's tier that served the call (`flex`, `priority`, `batch`); empty: the standard one.
        parts: (name, count) of what may have a price of its own, sorted by name: tokens that the counts above include
            (`input_audio`), or calls of tools beside them (`web_searches`). `costs.tariff.PART_GROUPS` has their
            names. `told_fee` is the fee for the call in nanodollars, where the upstream tells it.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    cache_write_tokens: int = 0
    service_tier: str = ""
    parts: tuple[tuple[str, int], ...] = ()


class Cost(NamedTuple):
    """The price of one usage in integer nanodollars.

    Attributes:
        input_nanousd: input, what the provider charges for writing its prompt cache and for calls of its own tools, and
            any fee per call.
        priced: False when the model has no known price.
        price_version: where the price is from.
        partly_priced: True when the amounts lack the right price of a part, or of the service tier.
    """

    input_nanousd: int = 0
    cached_input_nanousd: int = 0
    output_nanousd: int = 0
    priced: bool = False
    price_version: str = ""
    partly_priced: bool = False

    @property
    def total_nanousd(self) -> int:
        """The sum of the three parts, nanodollars."""
        return self.input_nanousd + self.cached_input_nanousd + self.output_nanousd


NO_USAGE = Usage()


NO_COST = Cost()


ZERO_COST = Cost(priced=True)
"""What a hit spends upstream: nothing, at a known price."""
