"""Tokens and dollars: what one upstream call used, and what that costs."""

from __future__ import annotations

from typing import NamedTuple

NANOUSD_PER_USD = 1_000_000_000


class Usage(NamedTuple):
    """Tokens of one upstream call.

    `input_tokens` includes `cached_input_tokens`, read from the provider's prompt cache, and `cache_write_tokens`,
    written to it.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    cache_write_tokens: int = 0


class Cost(NamedTuple):
    """The price of one usage in integer nanodollars; `priced` is False when the model has no known price.

    What the provider charges for writing its prompt cache, and any fee per call, is in `input_nanousd`.
    """

    input_nanousd: int = 0
    cached_input_nanousd: int = 0
    output_nanousd: int = 0
    priced: bool = False
    price_version: str = ""

    @property
    def total_nanousd(self) -> int:
        """Sum of the three parts, nanodollars."""
        return self.input_nanousd + self.cached_input_nanousd + self.output_nanousd


NO_USAGE = Usage()


NO_COST = Cost()


ZERO_COST = Cost(priced=True)
"""What a hit spends upstream: nothing, and that is known."""
