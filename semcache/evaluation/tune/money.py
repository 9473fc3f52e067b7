"""What a setting saves: upstream calls that aren't made, less what wrong answers cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.errors import InvalidRequestError
from semcache.evaluation.tune.comparing import Compared
from semcache.model import NANOUSD_PER_USD, Usage
from semcache.settings import CostSettings


@dataclass(frozen=True, slots=True)
class Worth:
    """What answering each pair from the cache spares, dollars.

    Attributes:
        usd: shape (pairs,).
        estimated: for how many the cost is an estimate.
        basis: the sentence that says how.
    """

    usd: NDArray[np.float64]
    estimated: int
    basis: str


def worth_of(
    compared: Sequence[Compared], *, model: str, output_tokens: int, at_s: float, costs: CostSettings
) -> Worth:
    """The entry's own cost where it is known, else the model's price for the request's tokens and `output_tokens`.

    Args:
        compared: the pairs.
        model: whose price stands in.
        output_tokens: how long an answer is taken to be.
        at_s: wall-clock seconds: prices have dates.
        costs: the price file, if any.

    Raises:
        InvalidRequestError: UNPRICED_MODEL: the model stands in, and nobody knows its price.
    """
    usd = np.zeros(len(compared))
    unknown = [number for number, item in enumerate(compared) if item.cost_nanousd is None]
    for number, item in enumerate(compared):
        usd[number] = (item.cost_nanousd or 0) / NANOUSD_PER_USD
    if not unknown:
        return Worth(usd, 0, "what the entries' own answers cost")
    from semcache.costs.prices import PriceBook  # a fifth of a second, for those alone who need it

    prices = PriceBook.open(costs)
    for number in unknown:
        cost = prices.cost(model, Usage(compared[number].prompt_tokens, 0, output_tokens, estimated=True), at_s)
        if not cost.priced:
            raise InvalidRequestError(
                f"The price of {model[:128]!r} isn't known.",
                reason="UNPRICED_MODEL",
                hint="Name another --model, or give it a [[price]] in costs.price_file.",
            )
        usd[number] = cost.total_nanousd / NANOUSD_PER_USD
    basis = (
        f"estimates: {model}'s price for the requests' tokens as the embedder counts them and {output_tokens:,} tokens "
        "an answer"
    )
    if len(unknown) < len(compared):
        basis = f"what the entries' own answers cost; for {len(unknown):,} of {len(compared):,} {basis}"
    return Worth(usd, len(unknown), basis)
