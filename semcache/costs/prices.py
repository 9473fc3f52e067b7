"""The price book: what a usage of a model costs, by the operator's file first and the bundled prices next."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from semcache.costs.override import NO_OVERRIDES, Overrides, read_price_file
from semcache.costs.sellers import ANYBODY, Seller, sellers_of
from semcache.costs.tariff import FREE_TARIFF, Tariff, is_free
from semcache.model import NO_COST, Cost, Usage
from semcache.settings import CostSettings, Target

if TYPE_CHECKING:
    from semcache.costs.bundled import BundledPrice, BundledPrices

_log = structlog.get_logger(__name__)

_MAX_NAME = 256
"""Characters of a model's name; no bundled price has a longer one."""
_OTHER = "other"
_EPOCH_S = 60.0
"""Seconds; prices that vary change on whole minutes, by UTC date or by a time of day."""
_DATED = re.compile(r"-(?:20\d\d-?[01]\d-?[0-3]\d|[01]\d[0-3]\d)$")
"""The date of a snapshot at the end of a model's name: -2024-08-06, -20240806, -0613."""

_PATH = re.compile(r"^(?:(?:.*/)?publishers/)?([^/]+/)?models/", re.IGNORECASE)
"""What Google's endpoints write around the publisher, before a model's name."""
_ROUTING = re.compile(r"(?::(?:nitro|floor|exacto|online))+$", re.IGNORECASE)
"""How a router is to choose among a model's providers; with `:online` it also searches the web."""


def bare(model: str) -> str:
    """Return a model's name without the path of Google's endpoints and without a router's way of choosing."""
    return _ROUTING.sub("", _PATH.sub(r"\1", model))


def _searches(model: str) -> bool:
    """Return whether a model's name (lower case) has a router search the web."""
    routing = _ROUTING.search(model)
    return routing is not None and ":online" in routing[0]


def undated(model: str) -> str:
    """Return a model's name without the date of its snapshot."""
    return _DATED.sub("", model)


def _names(model: str) -> Sequence[str]:
    """Return the names by which a model may have an override, its own first."""
    plain = bare(model)
    return model, undated(model), plain, undated(plain)


@dataclass(frozen=True, slots=True)
class PriceMemory:
    """How much a price book remembers; upstreams and callers choose models' names freely.

    Attributes:
        quotes: models whose price is remembered; beyond it all are looked up anew.
        charges: charges that are remembered, of all models together.
        unpriced: unpriced models that are counted by name; later ones count as `other`.
    """

    quotes: int = 4096
    charges: int = 4096
    unpriced: int = 1000


_USUAL_MEMORY = PriceMemory()


@dataclass(frozen=True, slots=True, eq=False)
class _Quote:
    """A model's tariff for calls in [start_s, end_s), wall seconds; None where no price is known."""

    tariff: Tariff | None
    start_s: float
    end_s: float


class PriceBook:
    """Prices usages in integer nanodollars, offline. Not thread-safe: it belongs to the event loop."""

    def __init__(
        self,
        overrides: Overrides,
        load_bundled: type[BundledPrices],
        memory: PriceMemory = _USUAL_MEMORY,
        targets: Iterable[Target] = (),
    ) -> None:
        """Take the operator's prices, a maker of the bundled ones, the bounds of what is remembered, and the targets.

        Raises:
            SettingsError: a target names a provider that has no prices.
        """
        self._memory = memory
        self._overrides = overrides
        self._load_bundled = load_bundled
        self._bundled = load_bundled()
        self._sellers = sellers_of(targets, self._bundled)
        self._quotes: dict[tuple[str, str, str], _Quote] = {}
        self._charged: dict[tuple[_Quote, Usage], Cost] = {}
        self._unpriced: dict[str, int] = {}

    @classmethod
    def open(
        cls, settings: CostSettings, memory: PriceMemory = _USUAL_MEMORY, *, targets: Iterable[Target] = ()
    ) -> PriceBook:
        """Load the prices, which takes about 0.2 s.

        Args:
            settings: they name the operator's price file.
            memory: the bounds of what is remembered.
            targets: the upstream's targets, each with prices of its own or of its provider.

        Raises:
            SettingsError: `price_file` has problems, all of them at once, or a target's provider has no prices.
        """
        from semcache.costs.bundled import BundledPrices

        overrides = NO_OVERRIDES if settings.price_file is None else read_price_file(settings.price_file)
        return cls(overrides, BundledPrices, memory, targets)

    def cost(self, model: str, usage: Usage, at_s: float, route: str = "") -> Cost:
        """Return what a call cost, split into uncached input, cached input and output.

        The price comes from the first of these that has one:

        1. the target's own setting, `free` or `price`;
        2. an override for the model's name (case aside), for its name without a snapshot's date (`gpt-4o` for
           `gpt-4o-2024-08-06`), for its bare name (`gpt-5` for `gpt-5:floor`), or for names that begin alike
           (`openai/*`);
        3. the bundled prices of the target's provider, for the model's name or its bare name.

        A model whose name ends with `:free` costs nothing, unless the target or an override of that very name says
        otherwise. A model without a price gives `NO_COST` (`priced` is False) and is counted in `unpriced_models`.
        `Tariff.charge` says how amounts are rounded and impossible counts are clamped.

        Args:
            model: the name that the upstream answered with, `provider/model` included.
            usage: its tokens, and the service tier whose price counts.
            at_s: when the call was made, wall-clock seconds; prices have dates.
            route: the target that answered. Of a caller's own stack (empty) and of a target that is no longer
                configured, the model's name alone tells the provider.
        """
        quote = self._quote(model, usage.service_tier, at_s, route)
        if quote.tariff is None:
            self._count_unpriced(model, self._sellers.get(route, ANYBODY))
            return NO_COST
        # Every hit on an entry asks for the price of the same usage.
        cost = self._charged.get((quote, usage))
        if cost is None:
            if len(self._charged) >= self._memory.charges:
                self._charged.clear()
            cost = self._charged[quote, usage] = quote.tariff.charge(usage)
        return cost

    def quote(self, model: str, usage: Usage, at_s: float, route: str = "") -> Cost:
        """Return what a call would cost, as `cost` does, and count nothing."""
        tariff = self._quote(model, usage.service_tier, at_s, route).tariff
        return NO_COST if tariff is None else tariff.charge(usage)

    def unpriced_models(self) -> Mapping[str, int]:
        """Return how often `cost` met each model without a price; names are bounded, later ones count as `other`."""
        return dict(self._unpriced)

    def _quote(self, model: str, tier: str, at_s: float, route: str) -> _Quote:
        quote = self._quotes.get((route, model, tier))
        if quote is None or not quote.start_s <= at_s < quote.end_s:
            quote = self._look_up(model, tier, at_s, route)
        return quote

    def _look_up(self, model: str, tier: str, at_s: float, route: str) -> _Quote:
        if len(self._quotes) >= self._memory.quotes:
            self._quotes.clear()
            self._bundled = self._load_bundled()
        seller = self._sellers.get(route, ANYBODY)
        name = model.lower()
        if seller.tariff is not None:
            quote = _Quote(seller.tariff, -math.inf, math.inf)
        elif is_free(name) and name not in self._overrides.names:
            quote = _Quote(FREE_TARIFF, -math.inf, math.inf)
        else:
            override, start_s, end_s = self._overrides.find(_names(name), at_s, tier)
            quote = _Quote(override, start_s, end_s)
        if quote.tariff is None and len(model) > _MAX_NAME:
            return quote
        if quote.tariff is None and seller.is_known:
            price = self._find_bundled(model, tier, at_s, seller)
            start_s, end_s = quote.start_s, quote.end_s
            if price.varies:
                start_s = max(start_s, at_s // _EPOCH_S * _EPOCH_S)
                end_s = min(end_s, start_s + _EPOCH_S)
            quote = _Quote(price.tariff, start_s, end_s)
        tariff = quote.tariff
        if tariff is not None and not tariff.is_flat and _searches(name) and name not in self._overrides.names:
            quote = _Quote(replace(tariff, lacks_search=True), quote.start_s, quote.end_s)
        self._quotes[route, model, tier] = quote
        return quote

    def _find_bundled(self, model: str, tier: str, at_s: float, seller: Seller) -> BundledPrice:
        price = self._bundled_of(model, tier, at_s, seller)
        plain = bare(model)
        return price if price.tariff is not None or plain == model else self._bundled_of(plain, tier, at_s, seller)

    def _bundled_of(self, model: str, tier: str, at_s: float, seller: Seller) -> BundledPrice:
        price = self._bundled.find(model, at_s, seller.provider, tier)
        if price.tariff is None and seller.provider is not None and seller.by_name:
            price = self._bundled.find(model, at_s, None, tier)  # A router has models that its own list lacks.
        return price

    def _count_unpriced(self, model: str, seller: Seller) -> None:
        name = model[:_MAX_NAME]
        if name not in self._unpriced:
            if len(self._unpriced) >= self._memory.unpriced:
                name = _OTHER
            else:
                self._warn(name, seller)
        self._unpriced[name] = self._unpriced.get(name, 0) + 1

    def _warn(self, name: str, seller: Seller) -> None:
        """Log an unpriced model, with the way out: what its target charges isn't known, or the model isn't."""
        if seller.is_known:
            hint = "its cost counts as unknown; give it a [[price]] in costs.price_file"
        else:
            hint = (
                "its cost counts as unknown, for the host of the target's base_url is no known provider's; set free, "
                "price or provider on the target, or give the model a [[price]] in costs.price_file"
            )
        _log.warning("costs.model_unpriced", model=name, target=seller.target, hint=hint)
