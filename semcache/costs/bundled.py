"""Prices that genai-prices bundles, read offline and turned into tariffs. No other module imports that library."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelPrice, PriceCalculation, TieredPrices

from semcache.costs.tariff import FREE, Band, Rate, Tariff

BUNDLED_VERSION = f"genai-prices {genai_prices.__version__}"

_CALLS_PER_PRICE = 1000
_Price = Decimal | TieredPrices | None


@dataclass(frozen=True, slots=True)
class BundledPrice:
    """What a model costs at one moment.

    Attributes:
        tariff: None where the library has no price per token.
        varies: whether the price depends on the date or the time of day.
    """

    tariff: Tariff | None
    varies: bool


class BundledPrices:
    """Finds a model's tariff in a snapshot of its own, which no update of the library's prices changes."""

    def __init__(self) -> None:
        self._snapshot = DataSnapshot(providers=providers, from_auto_update=False)

    def find(self, model: str, at_s: float) -> BundledPrice:
        """Return the price of `model` at a wall-clock time.

        A name `provider/model` is looked up with that provider first: another's price for the same model may differ. A
        model that is listed without prices is unpriced, not free.
        """
        calculation = self._calculate(model, datetime.fromtimestamp(at_s, tz=UTC))
        if calculation is None:
            return BundledPrice(None, varies=False)
        varies = not isinstance(calculation.model.prices, ModelPrice)
        return BundledPrice(_tariff(calculation.model_price), varies)

    def _calculate(self, model: str, at: datetime) -> PriceCalculation | None:
        provider, _, rest = model.partition("/")
        attempts: list[tuple[str, str | None]] = [(rest, provider)] if provider and rest else []
        for name, provider_id in [*attempts, (model, None)]:
            try:
                return self._snapshot.calc(genai_prices.Usage(), name, provider_id, None, at)
            except LookupError:
                continue
        return None


def _tariff(price: ModelPrice) -> Tariff | None:
    input_price, output_price = price.input_mtok, price.output_mtok
    if input_price is None or output_price is None:
        return None
    cached_price = input_price if price.cache_read_mtok is None else price.cache_read_mtok
    write_price = input_price if price.cache_write_mtok is None else price.cache_write_mtok
    fee = price.requests_kcount
    starts = {
        tier.start
        for tiered in (input_price, output_price, cached_price, write_price)
        if isinstance(tiered, TieredPrices)
        for tier in tiered.tiers
    }
    bands = tuple(
        Band(
            above,
            Rate.of(_in_band(input_price, above)),
            Rate.of(_in_band(cached_price, above)),
            Rate.of(_in_band(output_price, above)),
            Rate.of(_in_band(write_price, above)),
        )
        for above in (*sorted(starts, reverse=True), -1)
    )
    call_fee = FREE if fee is None else Rate.of(_in_band(fee, -1), per=_CALLS_PER_PRICE)
    return Tariff(bands, BUNDLED_VERSION, call_fee)


def _in_band(price: Decimal | TieredPrices, above: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if tier.start <= above), price.base)
