"""Tokens and dollars: what one upstream call used, and what that costs."""

from __future__ import annotations

from typing import NamedTuple

NANOUSD_PER_USD = 1_000_000_000


class Usage(NamedTuple):
    """Tokens of one upstream call.

    Attributes:
        input_tokens: all input, `cached_input_tokens` and `cache_write_tokens` included.
        cached_input_tokens: tokens that were read from the provider's prompt cache.
        estimated: whether the numbers are estimates, since the upstream sent none.
        cache_write_tokens: tokens that were written to the provider's prompt cache.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    cache_write_tokens: int = 0


class Cost(NamedTuple):
    """The price of one usage in integer nanodollars.

    Attributes:
        input_nanousd: input, what the provider charges for writing its prompt cache, and any fee per call.
        priced: False when the model has no known price.
        price_version: where the price is from.
    """

    input_nanousd: int = 0
    cached_input_nanousd: int = 0
    output_nanousd: int = 0
    priced: bool = False
    price_version: str = ""

    @property
    def total_nanousd(self) -> int:
        """The sum of the three parts, nanodollars."""
        return self.input_nanousd + self.cached_input_nanousd + self.output_nanousd


NO_USAGE = Usage()


NO_COST = Cost()


ZERO_COST = Cost(priced=True)
"""What a hit spends upstream: nothing, at a known price."""
