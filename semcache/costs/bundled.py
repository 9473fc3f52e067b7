"""Prices that genai-prices bundles, read offline and turned into tariffs. No other module imports that library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, ModelPrice, PriceCalculation, TieredPrices

from semcache.costs.tariff import CALLS_PER_PRICE, FREE, Band, Rate, Tariff, part_rate

BUNDLED_VERSION = f"genai-prices {genai_prices.__version__}"

_PART_PRICES = {
    **{f"input_{kind}": f"input_{kind}_mtok" for kind in ("audio", "image", "video")},
    **{f"cached_{kind}": f"cache_{kind}_read_mtok" for kind in ("audio", "image", "video")},
    "cache_write_1h": "cache_write_1h_mtok",
    **{f"output_{kind}": f"output_{kind}_mtok" for kind in ("audio", "image", "video", "reasoning", "citation")},
    **{name: f"{name}_kcount" for name in ("web_searches", "social_searches", "storage_searches", "code_executions")},
}
"""The library's names of the prices of parts."""
_TIER_NAMES = ("service_tier", "processing", "speed")
"""The library's names of a tier: OpenAI's and Google's tiers, batches, Anthropic's fast mode."""


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

    def find(self, model: str, at_s: float, provider: str | None = None, tier: str = "") -> BundledPrice:
        """Return the price of `model` at a wall-clock time.

        A name `provider/model` is looked up with that provider first: another's price for the same model may differ. A
        model that is listed without prices is unpriced, not free.

        Args:
            model: the model's name.
            at_s: wall seconds.
            provider: the id of the only provider whose prices count; None: the one that the name tells.
            tier: the service tier; empty: the standard one. Where its price isn't known it is the standard price, and
                the tariff says so.
        """
        at = datetime.fromtimestamp(at_s, tz=UTC)
        price = self._calculate(model, at, provider, None)
        if price is None:
            return BundledPrice(None, varies=False)
        varies = bool(tier) or not isinstance(price.model.prices, ModelPrice)
        context = _context(price.model, tier, at)
        if context is not None:
            price = self._calculate(model, at, provider, context) or price
        return BundledPrice(_tariff(price.model_price, lacks_tier=bool(tier) and context is None), varies)

    def provider_at(self, url: str) -> str | None:
        """Return the id of the provider whose API has this URL; None for none."""
        secure = re.sub("^http:", "https:", url.lower())
        return next((known.id for known in providers if re.match(known.api_pattern, secure)), None)

    def providers(self) -> tuple[str, ...]:
        """Return the ids of all providers with prices."""
        return tuple(known.id for known in providers)

    def _calculate(
        self, model: str, at: datetime, provider: str | None, context: Mapping[str, str] | None
    ) -> PriceCalculation | None:
        prefix, _, rest = model.partition("/")
        attempts: list[tuple[str, str | None]] = [(model, provider)]
        if prefix and rest and provider in {None, prefix.lower()}:
            attempts.insert(0, (rest, prefix))
        for name, provider_id in attempts:
            try:
                return self._snapshot.calc(genai_prices.Usage(), name, provider_id, None, at, context)
            except LookupError:
                continue
        return None


def _context(model: ModelInfo, tier: str, at: datetime) -> Mapping[str, str] | None:
    """Return the library's name of a tier at which it has a price for the model; None where it has none."""
    for variant in model.price_variants or () if tier else ():
        is_active = variant.constraint is None or variant.constraint.active(at)
        if is_active and any(variant.when == {name: tier} for name in _TIER_NAMES):
            return variant.when
    return None


def _tariff(price: ModelPrice, *, lacks_tier: bool) -> Tariff | None:
    input_price, output_price = price.input_mtok, price.output_mtok
    if input_price is None or output_price is None:
        return None
    cached_price = input_price if price.cache_read_mtok is None else price.cache_read_mtok
    write_price = input_price if price.cache_write_mtok is None else price.cache_write_mtok
    fee = price.requests_kcount
    parts = {name: part for name, key in _PART_PRICES.items() if (part := getattr(price, key)) is not None}
    starts = {
        tier.start
        for tiered in (input_price, output_price, cached_price, write_price, *parts.values())
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
            {name: part_rate(name, _in_band(part, above)) for name, part in parts.items()},
        )
        for above in (*sorted(starts, reverse=True), -1)
    )
    call_fee = FREE if fee is None else Rate.of(_in_band(fee, -1), per=CALLS_PER_PRICE)
    return Tariff(bands, BUNDLED_VERSION, call_fee, lacks_tier=lacks_tier, is_largest_fee=fee is not None)


def _in_band(price: Decimal | TieredPrices, above: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if tier.start <= above), price.base)
