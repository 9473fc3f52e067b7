"""What an upstream call may cost, estimated before it is made so that budgets can reserve room for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from semcache.costs.prices import PriceBook
from semcache.model import Cost, Usage


def estimated_costs(
    prices: PriceBook, models: Mapping[str, Collection[str]], size_bytes: int, output_tokens: int, at_s: float
) -> dict[str, Cost]:
    """Return what a call may cost at each of several models: more than it will, as far as that can be known before.

    Of several targets the dearest counts. The cost is unpriced where one of them has no known price.

    Args:
        prices: the price book.
        models: models that the call may be sent to, each with the targets that may be asked for it; no target: the
            model's name alone tells the price.
        size_bytes: bytes of the call's body.
        output_tokens: the most that the call may be answered with.
        at_s: wall seconds, for dated prices.
    """
    # English has four bytes a token, most other languages three or less; what stands around the text is counted too.
    usage = Usage(size_bytes // 3 + 1, 0, output_tokens, estimated=True)
    return {
        model: _dearest([prices.quote(model, usage, at_s, target) for target in targets or ("",)])
        for model, targets in models.items()
    }


def _dearest(costs: list[Cost]) -> Cost:
    dearest = max(costs, key=lambda cost: cost.total_nanousd)
    return dearest._replace(priced=all(cost.priced for cost in costs))
