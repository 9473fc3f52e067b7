"""Reads the TOML file of `semcache cost chargeback --tariff`, and checks that each status and token has one price."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from semcache.costs.toml_tables import TomlTable, read_toml
from semcache.finance.rate_card import (
    Assignment,
    MarkUp,
    PayAsYouGo,
    PricePlan,
    PriceTier,
    Quote,
    RateCard,
    Subscription,
    VolumeBand,
)
from semcache.model import Status

_KINDS = ("pay_as_you_go", "subscription", "quote", "mark_up")
_OVER_QUOTA = ("hybrid", "none")
_MAX_SHARE = Decimal(100)


def read_rate_card(path: Path) -> RateCard:
    """Return the rate card of a TOML file; `examples/tariff.toml` shows every key.

    Raises:
        SettingsError: the file has problems; all are listed.
    """
    file = read_toml(path)
    root = file.root
    default_plan = root.name("default_plan")
    tiers, free = _pay_as_you_go(root)
    plans = _plans(root)
    if default_plan and default_plan not in plans:
        root.problem(f"default_plan names the unknown plan {default_plan!r}")
    elif isinstance(plans.get(default_plan), Quote):
        root.problem("default_plan is a quote, and a quote is one tenant's own")
    tenants = _tenants(root, plans)
    root.finish()
    file.finish()
    return RateCard(tiers, free, plans, default_plan, tenants, f"tariff {file.digest}")


def _pay_as_you_go(root: TomlTable) -> tuple[tuple[PriceTier, ...], frozenset[Status]]:
    section = root.table("pay_as_you_go")
    if section is None:
        root.problem("pay_as_you_go is missing")
        return (), frozenset()
    free = _statuses(section, "free")
    tiers = [_tier(table) for table in section.tables("tiers")]
    section.finish()
    if not any(Status.STALE in tier.statuses for tier in tiers):
        free |= {Status.STALE}  # No tokens are counted of a stale answer, and older cards don't know the status.
    names = [tier.name for tier in tiers]
    for name in sorted({name for name in names if name and names.count(name) > 1}):
        section.problem(f"two tiers are named {name!r}")
    for status in Status:
        priced = [f"tier {tier.name!r}" for tier in tiers if status in tier.statuses]
        priced += ["free"] if status in free else []
        if not priced:
            section.problem(f"status {status.value} is in no tier and not free")
        elif len(priced) > 1:
            section.problem(f"status {status.value} is in {' and in '.join(priced)}")
    return tuple(tiers), free


def _tier(table: TomlTable) -> PriceTier:
    name = table.name("name")
    if not table.has("statuses"):
        table.problem("statuses is missing")
    statuses = _statuses(table, "statuses")
    bands = _bands(table)
    table.finish()
    return PriceTier(name, statuses, bands)


def _statuses(table: TomlTable, key: str) -> frozenset[Status]:
    known = [status.value for status in Status]
    names = table.names(key)
    for name in sorted(set(names).difference(known)):
        table.problem(f"{key} names the unknown status {name!r}; there are {', '.join(known)}")
    return frozenset(Status(name) for name in names if name in known)


def _bands(table: TomlTable) -> tuple[VolumeBand, ...]:
    """Return the bands of a price tier: one for all tokens, or several that follow each other from 0."""
    if not table.has("bands"):
        return (VolumeBand(0, None, table.amount("usd_per_1k_tokens")),)
    if table.has("usd_per_1k_tokens"):
        table.problem("usd_per_1k_tokens and bands are both there: the price stands in the bands")
        table.amount("usd_per_1k_tokens")
    bands: list[VolumeBand] = []
    for inner in table.tables("bands"):
        start = inner.count("from", minimum=0)
        end = inner.count("to", minimum=start + 1) if inner.has("to") else None
        bands.append(VolumeBand(start, end, inner.amount("usd_per_1k_tokens")))
        inner.finish()
    bands.sort(key=lambda band: band.from_tokens)
    reached: int | None = 0
    for band in bands:
        if reached is None or band.from_tokens < reached:
            table.problem(f"bands overlap from {band.from_tokens:,} tokens")
        elif band.from_tokens > reached:
            table.problem(f"bands leave a gap from {reached:,} to {band.from_tokens:,} tokens")
        reached = band.to_tokens if reached is not None else None
    if reached is not None:
        table.problem(f"bands end at {reached:,} tokens: the last has no `to`")
    return tuple(bands)


def _plans(root: TomlTable) -> Mapping[str, PricePlan]:
    plans: dict[str, PricePlan] = {}
    tables = root.tables("plans")
    if not tables:
        root.problem("no [[plans]] table")
    for table in tables:
        plan = _plan(table)
        table.finish()
        if plan.name in plans:
            table.problem(f"there is a plan {plan.name!r} already")
        plans[plan.name] = plan
    return plans


def _plan(table: TomlTable) -> PricePlan:
    name, kind = table.name("name"), table.choice("kind", _KINDS)
    if kind == "subscription":
        return Subscription(
            name,
            table.amount("usd_per_month"),
            table.count("requests"),
            table.choice("over_quota", _OVER_QUOTA) == "hybrid",
        )
    if kind == "mark_up":
        shares = [
            table.amount(key, maximum=_MAX_SHARE, unit="shares, as in 0.30") for key in ("profit", "risk", "operations")
        ]
        return MarkUp(name, *shares)
    return Quote(name) if kind == "quote" else PayAsYouGo(name)


def _tenants(root: TomlTable, plans: Mapping[str, PricePlan]) -> Mapping[str, Assignment]:
    tenants: dict[str, Assignment] = {}
    for table in root.tables("tenants"):
        tenant, plan_name = table.name("tenant"), table.name("plan")
        quote = table.amount("usd_per_month") if table.has("usd_per_month") else None
        table.finish()
        plan = plans.get(plan_name)
        if plan_name and plan is None:
            table.problem(f"plan names the unknown plan {plan_name!r}")
        if isinstance(plan, Quote) and quote is None:
            table.problem(f"usd_per_month is missing: the price that was quoted to {tenant}")
        if plan is not None and not isinstance(plan, Quote) and quote is not None:
            table.problem(f"usd_per_month is for plans of kind quote, and {plan_name!r} has its own price")
        if tenant in tenants:
            table.problem(f"tenant {tenant!r} has a plan already")
        tenants[tenant] = Assignment(plan_name, quote)
    return tenants
