"""Budgets: what may be spent upstream in a day or a month. Each call reserves its estimated cost before it is made.

A budget's state is the ledger's rollup of its period, read when the period is first used, plus what this process has
reserved and spent since. So it is exact across restarts, however the last process ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

import structlog

from semcache.costs.periods import Calendar, Period, PeriodKind
from semcache.costs.prices import undated
from semcache.errors import BudgetExceededError
from semcache.model import NANOUSD_PER_USD, Cost, LedgerRecord
from semcache.ports import Clock, Ledger
from semcache.settings import Budget, CostSettings

_log = structlog.get_logger(__name__)

_EACH = "*"
_MAX_PERIODS = 4
"""Days, or months, in memory: the present one, and earlier ones for a clock that is set back."""
_MAX_SCOPES = 10_000
"""Tenants and models with a balance of their own, in one budget and period; upstreams choose models' names freely."""
_OTHERS = ("", "other")
"""The scope of all later tenants and models together. It is no tenant's name, so that none sees it."""

Scope = tuple[str, str]
"""Tenant and model of a balance; empty where its budget takes all of them together."""


class BudgetObserver(Protocol):
    """Counts what budgets do."""

    def budget_refused(self, budget: str) -> None:
        """A call had no room in a budget."""
        ...

    def budget_warned(self, budget: str) -> None:
        """A budget passed the share at which it warns, for the first time in its period."""
        ...


class BudgetState(StrEnum):
    """How full a budget is."""

    OPEN = "open"
    WARNING = "warning"
    DEGRADING = "degrading"
    EXHAUSTED = "exhausted"


@dataclass(slots=True)
class Balance:
    """One budget of one scope in one period. Money in nanodollars."""

    budget: Budget
    scope: Scope
    period: Period
    limit_nanousd: int
    spent_nanousd: int = 0
    reserved_nanousd: int = 0
    warned: bool = False
    refused: bool = False

    @property
    def taken_nanousd(self) -> int:
        """What is spent and reserved, nanodollars."""
        return self.spent_nanousd + self.reserved_nanousd

    @property
    def share(self) -> float:
        """What is spent and reserved, as a share of the limit."""
        return self.taken_nanousd / self.limit_nanousd

    @property
    def state(self) -> BudgetState:
        """How full it is."""
        if self.taken_nanousd >= self.limit_nanousd:
            return BudgetState.EXHAUSTED
        if self.degrades:
            return BudgetState.DEGRADING
        return BudgetState.WARNING if self.share >= self.budget.warn_at else BudgetState.OPEN

    @property
    def degrades(self) -> bool:
        """Whether calls should go to cheaper models."""
        return self.budget.degrade_at is not None and self.share >= self.budget.degrade_at

    @property
    def warns(self) -> bool:
        """Whether the spent share has reached the share at which the budget warns."""
        return self.spent_nanousd >= self.limit_nanousd * self.budget.warn_at

    def refuses(self, estimate: Cost) -> bool:
        """Return whether a call of this estimated cost has no room."""
        if not estimate.priced and self.budget.unpriced == "refuse":
            return True
        if self.budget.on_limit != "refuse":
            return False
        taken = self.taken_nanousd
        # Where everything is spent, a free call and one of unknown price are refused too.
        return taken >= self.limit_nanousd or taken + estimate.total_nanousd > self.limit_nanousd


Balances = dict[str, dict[Scope, Balance]]
"""All balances of one period, by the name of the budget."""


@dataclass(slots=True)
class Reservation:
    """Room in budgets for one call, until it is released.

    Attributes:
        barred: models that the call may not be sent to: no room is left for what they would cost.
    """

    barred: frozenset[str] = frozenset()
    _held: list[tuple[Balance, int]] = field(default_factory=list)

    def release(self) -> None:
        """Give the room back; a second call does nothing."""
        for balance, nanousd in self._held:
            balance.reserved_nanousd -= nanousd
        self._held.clear()


class Budgets:
    """All budgets. They belong to the event loop; only `open_periods` may run on another thread, before serving."""

    def __init__(
        self,
        settings: CostSettings,
        ledger: Ledger,
        clock: Clock,
        observer: BudgetObserver,
        *,
        max_scopes: int = _MAX_SCOPES,
    ) -> None:
        """Read the settings; `max_scopes` bounds the tenants and models of one budget that have their own balance."""
        self._max_scopes = max_scopes
        self._budgets = settings.budgets
        # By tenant, for every request looks them up: a thousand tenants may each have a budget.
        self._shared = [budget for budget in self._budgets if budget.tenant in {None, _EACH}]
        self._whole = [budget for budget in self._shared if budget.tenant is None and budget.model is None]
        self._own: dict[str, list[Budget]] = {}
        for budget in self._budgets:
            if budget.tenant not in {None, _EACH}:
                self._own.setdefault(str(budget.tenant), []).append(budget)
        self._models = {
            budget.name: _plain(budget.model) for budget in self._budgets if budget.model not in {None, _EACH}
        }
        self._calendar = Calendar(settings.time_zone)
        self._ledger = ledger
        self._clock = clock
        self._observer = observer
        self._periods: dict[PeriodKind, dict[Period, Balances]] = {budget.period: {} for budget in self._budgets}

    def __bool__(self) -> bool:
        return bool(self._budgets)

    def open_periods(self, at_s: float) -> None:
        """Read what the ledger holds of the periods around a moment, unless that was done before.

        It must come before any spending in these periods is noted. It may run on another thread before the server
        serves: a month of a large ledger takes a second.
        """
        for kind in self._periods:
            self._period(kind, at_s)

    def degrades(self, tenant: str, models: frozenset[str]) -> bool:
        """Return whether a budget asks that a tenant's calls go to cheaper models than these."""
        now_s = self._clock.wall()
        return any(balance.degrades for model in (models or {""}) for balance in self._of(tenant, model, now_s))

    def pressed(self) -> bool:
        """Return whether a budget over all tenants and models has reached the share where it degrades, or its limit."""
        now_s = self._clock.wall()
        return any(
            balance.degrades or balance.share >= 1
            for budget in self._whole
            for balance in self._opened(budget, now_s).values()
        )

    def reserve(self, tenant: str, estimates: Mapping[str, Cost]) -> Reservation:
        """Reserve room for one call to one of several models.

        Args:
            tenant: whose call it is.
            estimates: what it may cost, by the models that it may be sent to; at least one.

        Raises:
            BudgetExceededError: there is room for none of the models.
        """
        if not self._budgets:
            return Reservation()
        now_s = self._clock.wall()
        barred: dict[str, Balance] = {}
        held: dict[int, tuple[Balance, int]] = {}
        for model, estimate in estimates.items():
            balances = list(self._of(tenant, model, now_s))
            full = next((balance for balance in balances if balance.refuses(estimate)), None)
            if full is not None:
                barred[model] = full
                continue
            for balance in balances:  # Where several models draw on one balance, the dearest is reserved.
                _, nanousd = held.get(id(balance), (balance, 0))
                held[id(balance)] = (balance, max(nanousd, estimate.total_nanousd))
        if len(barred) == len(estimates):
            raise self._refusal(next(iter(barred.values())))
        for balance, nanousd in held.values():
            balance.reserved_nanousd += nanousd
        return Reservation(frozenset(barred), list(held.values()))

    def spend(self, record: LedgerRecord) -> None:
        """Count what a ledger line says was spent, in the periods of its own time."""
        nanousd = record.spent.total_nanousd
        if not self._budgets or not nanousd:
            return
        try:
            balances = list(self._of(record.tenant, record.model, record.at_s))
        except Exception:  # noqa: BLE001 - a period that can't be opened must not keep a paid call from the ledger
            # The line reaches the ledger all the same, where a later opening finds it.
            _log.exception("costs.ledger_unreadable")
            return
        for balance in balances:
            balance.spent_nanousd += nanousd
            if balance.warns and not balance.warned:
                balance.warned = True
                self._observer.budget_warned(balance.budget.name)
                _log.warning("costs.budget_warned", **_log_fields(balance))

    def balances(self, tenant: str | None = None) -> list[Balance]:
        """Return the balances of the present periods: of a tenant's own budgets, or of all for None.

        A tenant doesn't see budgets over all tenants. A budget of which nothing is spent is there with its limit.
        """
        now_s = self._clock.wall()
        found: list[Balance] = []
        for budget in self._budgets if tenant is None else self._of_tenant(tenant):
            if tenant is not None and budget.tenant is None:
                continue
            balances = self._opened(budget, now_s)
            if budget.model != _EACH and (budget.tenant != _EACH or tenant is not None):
                self._balance(balances, budget, (tenant or "" if budget.tenant == _EACH else "", ""), now_s)
            found += [
                balance
                for balance in balances.values()
                if tenant is None or budget.tenant != _EACH or balance.scope[0] == tenant
            ]
        return found

    def shares(self) -> Mapping[str, float]:
        """Return how full each budget is, by its fullest scope. Any thread may call it: it reads no ledger."""
        now_s = self._clock.wall()
        fullest = {}
        for budget in self._budgets:
            period = self._calendar.period(budget.period, now_s)
            balances = self._periods[budget.period].get(period, {}).get(budget.name, {})
            fullest[budget.name] = max((balance.share for balance in list(balances.values())), default=0.0)
        return fullest

    def _of_tenant(self, tenant: str) -> list[Budget]:
        """Return the budgets that a tenant's calls draw on, whatever the model."""
        return [*self._shared, *self._own.get(tenant, ())]

    def _of(self, tenant: str, model: str, at_s: float) -> Iterator[Balance]:
        """Yield the balances that a call of a tenant to a model draws on."""
        name = _plain(model)
        for budget in self._of_tenant(tenant):
            if self._models.get(budget.name, name) == name:
                yield self._balance(self._opened(budget, at_s), budget, _scope(budget, tenant, name), at_s)

    def _balance(self, balances: dict[Scope, Balance], budget: Budget, scope: Scope, at_s: float) -> Balance:
        balance = balances.get(scope)
        if balance is None:
            if len(balances) >= self._max_scopes:
                scope = _OTHERS
            period = self._calendar.period(budget.period, at_s)
            limit_nanousd = int(budget.limit_usd * NANOUSD_PER_USD)
            balance = balances.setdefault(scope, Balance(budget, scope, period, limit_nanousd))
        return balance

    def _opened(self, budget: Budget, at_s: float) -> dict[Scope, Balance]:
        return self._period(budget.period, at_s)[budget.name]

    def _period(self, kind: PeriodKind, at_s: float) -> Balances:
        """Return the balances of a day or a month, read from the ledger at their first use, once for all budgets."""
        periods = self._periods[kind]
        period = self._calendar.period(kind, at_s)
        opened = periods.get(period)
        if opened is not None:
            return opened
        opened = {budget.name: {} for budget in self._budgets if budget.period == kind}
        for hour in self._ledger.hours(None, period.start_s, period.end_s):
            name = _plain(hour.model)
            for budget in self._of_tenant(hour.tenant):
                if budget.period == kind and self._models.get(budget.name, name) == name:
                    scope = _scope(budget, hour.tenant, name)
                    self._balance(opened[budget.name], budget, scope, at_s).spent_nanousd += hour.spent_nanousd
        for balances in opened.values():
            for balance in balances.values():
                balance.warned = balance.warns
        # Kept only now: after a ledger that couldn't be read to its end, the next call reads it again.
        while len(periods) >= _MAX_PERIODS:
            del periods[min(periods)]
        periods[period] = opened
        return opened

    def _refusal(self, balance: Balance) -> BudgetExceededError:
        budget, end_s = balance.budget, balance.period.end_s
        self._observer.budget_refused(budget.name)
        if not balance.refused:  # Logged once a period; the metric counts every refusal.
            balance.refused = True
            _log.warning("costs.budget_refused", **_log_fields(balance))
        resets_at = datetime.fromtimestamp(end_s, tz=UTC).isoformat().replace("+00:00", "Z")
        return BudgetExceededError(
            f"The budget {budget.name!r} has no room for this call until {resets_at}.",
            hint="What the cache holds is still served; the limit stands in costs.budgets.",
            retry_after_s=max(0.0, end_s - self._clock.wall()),
            metadata={"budget": budget.name, "period": balance.period.name, "resets_at": resets_at},
        )


def _plain(model: str) -> str:
    """Return a model's name as callers and upstreams share it, so that both draw on one balance.

    A caller asks for `openai/gpt-4o`, and its router answers as `gpt-4o-2024-08-06`.
    """
    return undated(model.lower().rpartition("/")[2]).removesuffix("-latest")


def _scope(budget: Budget, tenant: str, model: str) -> Scope:
    """Return the scope of the balance that a call draws on."""
    return (tenant if budget.tenant == _EACH else "", model if budget.model == _EACH else "")


def _log_fields(balance: Balance) -> dict[str, object]:
    """Return a balance as fields of a log line."""
    tenant, model = balance.scope
    return {
        "budget": balance.budget.name,
        "period": balance.period.name,
        "of_tenant": tenant or balance.budget.tenant,
        "of_model": model or balance.budget.model,
        "limit_nanousd": balance.limit_nanousd,
        "spent_nanousd": balance.spent_nanousd,
        "reserved_nanousd": balance.reserved_nanousd,
    }
