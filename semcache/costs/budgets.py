"""Budgets: what may be spent upstream in a day or a month, reserved before a call so that many at once can't overrun.

A budget's state is the ledger's rollup of its period, read when the period is first touched, and from then on what this
process reserves and spends: exact across restarts, whatever ended the last one.
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
from semcache.ports import Clock, EntryStore
from semcache.settings import Budget, CostSettings

_log = structlog.get_logger(__name__)

_EACH = "*"
_MAX_PERIODS = 4
"""Days, or months, in memory: the present one, and those that a clock set back returns to."""
_MAX_SCOPES = 10_000
"""Tenants and models of one budget and period with a balance of their own: upstreams name models as they like."""
_OTHERS = ("", "other")
"""Whoever comes later, together. It belongs to no tenant, so that none sees it."""

Scope = tuple[str, str]
"""The tenant and the model that a balance is of; empty where its budget takes all of them together."""


class BudgetObserver(Protocol):
    """Who counts what budgets do."""

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
        """What is spent and reserved."""
        return self.spent_nanousd + self.reserved_nanousd

    @property
    def share(self) -> float:
        """The same, as a share of the limit."""
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
        """Whether calls are to go to cheaper models."""
        return self.budget.degrade_at is not None and self.share >= self.budget.degrade_at

    @property
    def warns(self) -> bool:
        """Whether what is spent is at the share at which the budget warns."""
        return self.spent_nanousd >= self.limit_nanousd * self.budget.warn_at

    def refuses(self, estimate: Cost) -> bool:
        """Whether a call of this estimated cost has no room."""
        if not estimate.priced and self.budget.unpriced == "refuse":
            return True
        if self.budget.on_limit != "refuse":
            return False
        taken = self.taken_nanousd
        # A call that costs nothing, or nobody knows what, may not go on where all is spent.
        return taken >= self.limit_nanousd or taken + estimate.total_nanousd > self.limit_nanousd


Balances = dict[str, dict[Scope, Balance]]
"""All of one period, by the name of the budget."""


@dataclass(slots=True)
class Reservation:
    """Room in budgets for one call, until it is released.

    `barred` are models that the call may not be sent to: no room is left for what they would cost.
    """

    barred: frozenset[str] = frozenset()
    _held: list[tuple[Balance, int]] = field(default_factory=list)

    def release(self) -> None:
        """Give the room back; a second time does nothing."""
        for balance, nanousd in self._held:
            balance.reserved_nanousd -= nanousd
        self._held.clear()


class Budgets:
    """All budgets. Not thread-safe, but for `open_periods`: it belongs to the event loop."""

    def __init__(self, settings: CostSettings, store: EntryStore, clock: Clock, observer: BudgetObserver) -> None:
        self._budgets = settings.budgets
        # Looked up for every request: there may be a budget for each of some thousand tenants.
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
        self._store = store
        self._clock = clock
        self._observer = observer
        self._periods: dict[PeriodKind, dict[Period, Balances]] = {budget.period: {} for budget in self._budgets}

    def __bool__(self) -> bool:
        return bool(self._budgets)

    def open_periods(self, at_s: float) -> None:
        """Read what the ledger holds of the periods around a moment, unless that is done.

        It must come before any spending of theirs is noted, and may run on another thread before the server serves: a
        month of a large ledger takes a second.
        """
        for kind in self._periods:
            self._period(kind, at_s)

    def degrades(self, tenant: str, models: frozenset[str]) -> bool:
        """Whether a budget asks that a tenant's calls go to cheaper models than these."""
        now_s = self._clock.wall()
        return any(balance.degrades for model in (models or {""}) for balance in self._of(tenant, model, now_s))

    def pressed(self) -> bool:
        """Whether a budget over all tenants and models is at the share where it degrades, or all spent."""
        now_s = self._clock.wall()
        return any(
            balance.degrades or balance.share >= 1
            for budget in self._whole
            for balance in self._opened(budget, now_s).values()
        )

    def reserve(self, tenant: str, estimates: Mapping[str, Cost]) -> Reservation:
        """Room for one call to one of several models.

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
            for balance in balances:  # Where several models draw on one balance, the dearest counts.
                _, nanousd = held.get(id(balance), (balance, 0))
                held[id(balance)] = (balance, max(nanousd, estimate.total_nanousd))
        if len(barred) == len(estimates):
            raise self._refusal(next(iter(barred.values())))
        for balance, nanousd in held.values():
            balance.reserved_nanousd += nanousd
        return Reservation(frozenset(barred), list(held.values()))

    def spend(self, record: LedgerRecord) -> None:
        """Count what a record says was spent, in the periods of its own time: a clock set back finds its old ones."""
        nanousd = record.spent.total_nanousd
        if not self._budgets or not nanousd:
            return
        try:
            balances = list(self._of(record.tenant, record.model, record.at_s))
        except Exception:  # noqa: BLE001 - a period that can't be opened mustn't keep what was paid for from the ledger
            _log.exception("budget.ledger_unreadable")  # Whoever opens it later finds the record there.
            return
        for balance in balances:
            balance.spent_nanousd += nanousd
            if balance.warns and not balance.warned:
                balance.warned = True
                self._observer.budget_warned(balance.budget.name)
                _log.warning("budget.warning", **_told(balance))

    def balances(self, tenant: str | None = None) -> list[Balance]:
        """The balances of the present periods: of a tenant's own budgets, or, for None, of all.

        Budgets over all tenants are not a tenant's to see. One that nothing was spent of is there with its limit.
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
        """How full each budget is, the fullest scope of it; from any thread: nothing is read from the ledger."""
        now_s = self._clock.wall()
        fullest = {}
        for budget in self._budgets:
            period = self._calendar.period(budget.period, now_s)
            balances = self._periods[budget.period].get(period, {}).get(budget.name, {})
            fullest[budget.name] = max((balance.share for balance in list(balances.values())), default=0.0)
        return fullest

    def _of_tenant(self, tenant: str) -> list[Budget]:
        """The budgets that a tenant's calls draw on, whatever the model."""
        return [*self._shared, *self._own.get(tenant, ())]

    def _of(self, tenant: str, model: str, at_s: float) -> Iterator[Balance]:
        """The balances that a call of a tenant to a model draws on."""
        name = _plain(model)
        for budget in self._of_tenant(tenant):
            if self._models.get(budget.name, name) == name:
                yield self._balance(self._opened(budget, at_s), budget, _scope(budget, tenant, name), at_s)

    def _balance(self, balances: dict[Scope, Balance], budget: Budget, scope: Scope, at_s: float) -> Balance:
        balance = balances.get(scope)
        if balance is None:
            if len(balances) >= _MAX_SCOPES:
                scope = _OTHERS
            period = self._calendar.period(budget.period, at_s)
            limit_nanousd = int(budget.limit_usd * NANOUSD_PER_USD)
            balance = balances.setdefault(scope, Balance(budget, scope, period, limit_nanousd))
        return balance

    def _opened(self, budget: Budget, at_s: float) -> dict[Scope, Balance]:
        return self._period(budget.period, at_s)[budget.name]

    def _period(self, kind: PeriodKind, at_s: float) -> Balances:
        """All budgets of a day or a month: what the ledger says of it is read once, however many they are."""
        periods = self._periods[kind]
        period = self._calendar.period(kind, at_s)
        opened = periods.get(period)
        if opened is not None:
            return opened
        opened = {budget.name: {} for budget in self._budgets if budget.period == kind}
        for hour in self._store.ledger_hours(None, period.start_s, period.end_s):
            name = _plain(hour.model)
            for budget in self._of_tenant(hour.tenant):
                if budget.period == kind and self._models.get(budget.name, name) == name:
                    scope = _scope(budget, hour.tenant, name)
                    self._balance(opened[budget.name], budget, scope, at_s).spent_nanousd += hour.spent_nanousd
        for balances in opened.values():
            for balance in balances.values():
                balance.warned = balance.warns
        # Kept only now: a ledger that can't be read to its end is read again, not taken for all that was spent.
        while len(periods) >= _MAX_PERIODS:
            del periods[min(periods)]
        periods[period] = opened
        return opened

    def _refusal(self, balance: Balance) -> BudgetExceededError:
        budget, end_s = balance.budget, balance.period.end_s
        self._observer.budget_refused(budget.name)
        if not balance.refused:  # Once a period: the metric counts them all.
            balance.refused = True
            _log.warning("budget.refuses", **_told(balance))
        resets_at = datetime.fromtimestamp(end_s, tz=UTC).isoformat().replace("+00:00", "Z")
        return BudgetExceededError(
            f"The budget {budget.name!r} has no room for this call until {resets_at}.",
            hint="What the cache holds is still served; the limit stands in costs.budgets.",
            retry_after_s=max(0.0, end_s - self._clock.wall()),
            metadata={"budget": budget.name, "period": balance.period.name, "resets_at": resets_at},
        )


def _plain(model: str) -> str:
    """What a model is called by whoever is asked for it and by whoever answers, so that both draw on one balance.

    Asked for `openai/gpt-4o`, a router answers as `gpt-4o-2024-08-06`.
    """
    return undated(model.lower().rpartition("/")[2]).removesuffix("-latest")


def _scope(budget: Budget, tenant: str, model: str) -> Scope:
    """Whose balance of a budget a call draws on."""
    return (tenant if budget.tenant == _EACH else "", model if budget.model == _EACH else "")


def _told(balance: Balance) -> dict[str, object]:
    """A balance for the log."""
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
