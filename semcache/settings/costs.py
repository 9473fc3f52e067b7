"""Settings of money: prices, days and months, budgets, the cost of saving, the cost model."""

from __future__ import annotations

import datetime as dt
import os
import zoneinfo
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    model_validator,
)

from semcache.settings.section import Count, Dollars, Name, Section


def _whole_hours(name: str) -> str:
    try:
        zone = zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError) as error:
        raise ValueError(f"{name!r} is no time zone; use an IANA name such as Europe/Berlin") from error
    now = dt.datetime.now(zone)
    offsets = [(now + dt.timedelta(days=days)).utcoffset() for days in range(0, 366, 30)]
    if any(offset is None or offset % dt.timedelta(hours=1) for offset in offsets):
        raise ValueError(f"{name} is not whole hours from UTC, which the hourly ledger can't be cut by; use UTC")
    return name


class Budget(Section):
    """What may be spent upstream in a day or a month. Hits spend nothing and are served even when it is used up."""

    name: Name
    """The name in metrics, in logs and in the error of a refused call."""
    limit_usd: Annotated[Decimal, Field(gt=0, le=1_000_000_000, max_digits=18, decimal_places=9)]
    period: Literal["day", "month"] = "month"
    """A calendar day or month in `costs.time_zone`."""
    tenant: Literal["*"] | Name | None = None
    """The tenant whose spending counts. `*`: each tenant has a budget of its own; None: all tenants share one."""
    model: Literal["*"] | Name | None = None
    """The model whose spending counts, as the upstream names it, without a prefix before `/`, a snapshot's date and
    `-latest`. `*`: each model has a budget of its own; None: all models share one."""
    warn_at: Annotated[float, Field(gt=0, le=1)] = 0.8
    """The share of the limit from which a warning is logged and counted, once a period."""
    degrade_at: Annotated[float, Field(gt=0, le=1)] | None = None
    """The share from which calls go to the route's degraded models; None: never."""
    on_limit: Literal["refuse", "warn"] = "refuse"
    """refuse: a call whose estimated cost doesn't fit is refused with BUDGET_EXCEEDED; the error says when the period
    ends. warn: the call is made."""
    unpriced: Literal["allow", "refuse"] = "allow"
    """What to do with calls of models without a known price, whose cost no budget can count."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.degrade_at is not None and self.degrade_at < self.warn_at:
            raise ValueError(f"budget {self.name}: degrade_at is below warn_at")
        return self


class OverheadSettings(Section):
    """What saving itself costs; it is subtracted from the savings. 0 leaves a part out."""

    embedding_usd_per_million: Annotated[Decimal, Field(ge=0, le=1_000_000_000, max_digits=18, decimal_places=9)] = (
        Decimal(0)
    )
    """Dollars for a million embedded prompts: the machine's dollars an hour divided by its millions of prompts an
    hour."""
    wrong_answer_usd: Annotated[Decimal, Field(ge=0, le=1_000_000_000, max_digits=18, decimal_places=9)] = Decimal(0)
    """What a wrong answer costs, in dollars; it is booked for each hit that a caller reports as wrong."""


class ProviderCharge(Section):
    """What a provider charges a month independent of use."""

    provider: Name
    usd_per_month: Dollars


class CostModelSettings(Section):
    """What a month costs beside the tokens, for `semcache cost budget`. 0 leaves a part out."""

    storage_usd_per_gb_month: Dollars = Decimal(0)
    """Dollars for a gigabyte (10⁹ bytes) of the store's file for a month."""
    operations_usd_per_month: Dollars = Decimal(0)
    """Machines and people that keep semcache running."""
    monitoring_usd_per_month: Dollars = Decimal(0)
    """Metrics, logs and alerts."""
    provider_charges: tuple[ProviderCharge, ...] = ()
    """Fixed charges of providers: seats, minimum fees, provisioned throughput."""
    growth_limit: Annotated[float, Field(ge=0, le=100)] = 0.05
    """The growth of spending from month to month, as a share, above which the report warns."""

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        names = [charge.provider for charge in self.provider_charges]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"provider_charges names {', '.join(twice)} twice")
        return self


class CostSettings(Section):
    """Prices, budgets, and what saving costs."""

    price_file: Path | None = None
    """TOML that overrides the bundled prices: `[[price]] model = "…", input = 18.75, output = 75.0` in dollars per
    million tokens; `cached_input`, `cache_write`, `per_call`, `tiers` and `from` are optional (docs/costs.md)."""
    time_zone: Annotated[str, AfterValidator(_whole_hours)] = "UTC"
    """The time zone in which days and months begin, as an IANA name. Its offset must be whole hours, because the ledger
    adds up by the hour."""
    assumed_output_tokens: Count = 1024
    """Output tokens that a budget reserves for a call without a limit of its own. Most answers have fewer, so that many
    calls at once don't exceed the budget."""
    budgets: tuple[Budget, ...] = ()
    overhead: OverheadSettings = OverheadSettings()
    model: CostModelSettings = CostModelSettings()

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.price_file is not None and not os.access(self.price_file, os.R_OK):
            problems.append(f"price_file: {self.price_file} can't be read")
        names = [budget.name for budget in self.budgets]
        problems += [f"budget {name} is named twice" for name in sorted({n for n in names if names.count(n) > 1})]
        if problems:
            raise ValueError("; ".join(problems))
        return self
