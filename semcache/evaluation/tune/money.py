"""Values each pair in dollars: the cost of the upstream call that a hit makes unnecessary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.errors import InvalidRequestError
from semcache.evaluation.tune.comparing import ComparedPair
from semcache.model import NANOUSD_PER_USD, Usage
from semcache.settings import CostSettings


@dataclass(frozen=True, slots=True)
class Worth:
    """The dollars saved by answering each pair from the cache.

    Attributes:
        usd: shape (pairs,).
        estimated: the number of pairs whose cost is an estimate.
        basis: where the costs come from, as a phrase that follows "Dollars are".
    """

    usd: NDArray[np.float64]
    estimated: int
    basis: str


def worth_of(
    compared: Sequence[ComparedPair], *, model: str, output_tokens: int, at_s: float, costs: CostSettings
) -> Worth:
    """Return what each pair is worth: its entry's own cost, or an estimate from a model's price.

    Args:
        compared: the pairs.
        model: the model whose price is used where an entry's cost is unknown.
        output_tokens: the assumed length of an answer in such an estimate.
        at_s: wall-clock seconds, because prices change over time.
        costs: names the price file, if there is one.

    Raises:
        InvalidRequestError: UNPRICED_MODEL: an estimate is needed, and the model's price isn't known.
    """
    usd = np.zeros(len(compared))
    unknown = [number for number, item in enumerate(compared) if item.cost_nanousd is None]
    for number, item in enumerate(compared):
        usd[number] = (item.cost_nanousd or 0) / NANOUSD_PER_USD
    if not unknown:
        return Worth(usd, 0, "what the entries' own answers cost")
    from semcache.costs.prices import PriceBook  # Imported late: the list of prices takes a fifth of a second.

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
