"""Whose prices apply to a target: its own, those of the provider that its host belongs to, or nobody's that are known.

A model's name alone doesn't tell what a target charges: an own server may run a model under its public name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from semcache.costs.tariff import FREE_TARIFF, Band, Rate, Tariff
from semcache.errors import SettingsError
from semcache.settings import Target, TargetPrice

if TYPE_CHECKING:
    from semcache.costs.bundled import BundledPrices

_ANY = "any"
_REGIONS = {".api.openai.com": "openai", ".api.x.ai": "x-ai"}
"""Providers whose regional hosts genai-prices doesn't know, by the end of the host's name."""
_ROUTERS = frozenset(
    {
        "openrouter.ai",
        "api.openrouter.ai",
        "ai-gateway.vercel.sh",
        "gateway.ai.cloudflare.com",
        "api.portkey.ai",
        "router.requesty.ai",
        "api.withmartian.com",
    }
)
"""Public routers, which charge what the provider of each model charges."""


@dataclass(frozen=True, slots=True)
class Seller:
    """Who sets the prices of a target.

    Attributes:
        target: the target's name; empty for a caller's own stack.
        tariff: the target's own price, for all its models; None: it has none.
        provider: the id of the provider whose bundled prices count; None: of none, or of any.
        by_name: whether the provider that a model's name tells is taken, beside or without `provider`.
    """

    target: str = ""
    tariff: Tariff | None = None
    provider: str | None = None
    by_name: bool = False

    @property
    def is_known(self) -> bool:
        """Whether bundled prices may count."""
        return self.by_name or self.provider is not None


ANYBODY = Seller(by_name=True)
"""The seller of a caller's own stack, and of a target that is no longer configured: the name is all that is known."""


def sellers_of(targets: Iterable[Target], bundled: BundledPrices) -> Mapping[str, Seller]:
    """Return the seller of each target, by its name.

    Raises:
        SettingsError: a target names a provider that has no prices.
    """
    problems = []
    sellers = {}
    for target in targets:
        provider = target.provider.lower()
        if provider and provider != _ANY and provider not in bundled.providers():
            known = ", ".join([_ANY, *bundled.providers()])
            problems.append(f"target {target.name!r}: provider {provider!r} has no prices; known are {known}")
        sellers[target.name] = _seller(target, provider, bundled)
    if problems:
        raise SettingsError(problems)
    return sellers


def _seller(target: Target, provider: str, bundled: BundledPrices) -> Seller:
    if target.free:
        return Seller(target.name, FREE_TARIFF)
    if target.price is not None:
        return Seller(target.name, _own_tariff(target, target.price))
    if provider:
        return Seller(target.name, None, None if provider == _ANY else provider, by_name=provider == _ANY)
    host = urlsplit(target.base_url).hostname or ""
    found = bundled.provider_at(target.base_url)
    if found is None:
        found = next((name for end, name in _REGIONS.items() if host.endswith(end)), None)
    return Seller(target.name, None, found, by_name=host in _ROUTERS)


def _own_tariff(target: Target, price: TargetPrice) -> Tariff:
    cached_usd = price.input if price.cached_input is None else price.cached_input
    write_usd = price.input if price.cache_write is None else price.cache_write
    band = Band(-1, Rate.of(price.input), Rate.of(cached_usd), Rate.of(price.output), Rate.of(write_usd))
    return Tariff((band,), f"target {target.name}", Rate.of(price.per_call, per=1), is_flat=True)
