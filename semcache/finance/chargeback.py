"""A month's invoices from the ledger: each tenant by its plan, and the proof that nothing of the ledger was left out.

Amounts are exact fractions of dollars until the invoice's total, which is rounded to cents once, half to even. Tokens,
requests and costs stay integers, split without a remainder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import groupby

from semcache.finance.quota import split_at_quota
from semcache.finance.rate_card import MarkUp, PayAsYouGo, Plan, Quote, RateCard, Subscription
from semcache.model import LedgerHour, Status

LINE_DECIMALS = 6
"""Shown of a line's amount, which is exact: only an invoice's total is rounded to cents."""
_CENTS_PER_USD = 100


@dataclass(frozen=True, slots=True)
class Amounts:
    """What the ledger says of some requests: their number, all their tokens, and what the upstreams charged."""

    requests: int = 0
    tokens: int = 0
    cost_nanousd: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.requests + other.requests, self.tokens + other.tokens, self.cost_nanousd + other.cost_nanousd
        )

    def __bool__(self) -> bool:
        return self != NO_AMOUNTS

    @classmethod
    def of(cls, hour: LedgerHour) -> Amounts:
        """A rollup row's. Tokens are input and output, of hits those of the answer that the cache gave."""
        return cls(hour.requests, hour.input_tokens + hour.output_tokens, hour.spent_nanousd)


NO_AMOUNTS = Amounts()


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """What is charged, exactly, for which part of the ledger."""

    text: str
    used: Amounts
    usd: Fraction


@dataclass(frozen=True, slots=True)
class Invoice:
    """One tenant's month."""

    tenant: str
    plan: str
    lines: tuple[InvoiceLine, ...]

    @property
    def used(self) -> Amounts:
        """All that the lines are about."""
        return sum((line.used for line in self.lines), NO_AMOUNTS)

    @property
    def total_usd(self) -> Decimal:
        """What is due: the exact sum of the lines, rounded to cents, half to even."""
        exact = sum((line.usd for line in self.lines), Fraction())
        return Decimal(round(exact * _CENTS_PER_USD)).scaleb(-2)


@dataclass(frozen=True, slots=True)
class Chargeback:
    """All invoices of a month, by tenant, and what the ledger itself adds up to."""

    invoices: tuple[Invoice, ...]
    ledger: Amounts

    @property
    def invoiced(self) -> Amounts:
        """What all invoices are about."""
        return sum((invoice.used for invoice in self.invoices), NO_AMOUNTS)

    @property
    def adds_up(self) -> bool:
        """The invoices' requests, tokens and cost are the ledger's, to the nanodollar."""
        return self.invoiced == self.ledger

    @property
    def total_usd(self) -> Decimal:
        """All totals together."""
        return sum((invoice.total_usd for invoice in self.invoices), Decimal(0))


def chargeback(hours: Iterable[LedgerHour], card: RateCard, tenants: Collection[str] = ()) -> Chargeback:
    """The invoices of a month.

    A tenant of the rate card with a monthly price gets one though it asked nothing.

    Args:
        hours: the month's rollup rows, each once, in any order.
        card: what is charged.
        tenants: whom to invoice; empty: all.
    """
    rows = sorted(
        (hour for hour in hours if not tenants or hour.tenant in tenants),
        key=lambda hour: (hour.tenant, hour.hour_s, hour.status.value, hour.model, hour.task_type),
    )
    ledger = sum(map(Amounts.of, rows), NO_AMOUNTS)
    by_tenant = {tenant: list(members) for tenant, members in groupby(rows, key=lambda hour: hour.tenant)}
    for tenant, assignment in card.tenants.items():
        if isinstance(card.plans[assignment.plan], Subscription | Quote) and (not tenants or tenant in tenants):
            by_tenant.setdefault(tenant, [])
    invoices = tuple(_invoice(tenant, by_tenant[tenant], card) for tenant in sorted(by_tenant))
    return Chargeback(invoices, ledger)


def _invoice(tenant: str, hours: Sequence[LedgerHour], card: RateCard) -> Invoice:
    assignment = card.assignment(tenant)
    plan = card.plans[assignment.plan]
    return Invoice(tenant, plan.name, tuple(_lines(plan, assignment.quote_usd_per_month, hours, card)))


def _lines(plan: Plan, quote_usd: Decimal | None, hours: Sequence[LedgerHour], card: RateCard) -> list[InvoiceLine]:
    everything = sum(map(Amounts.of, hours), NO_AMOUNTS)
    match plan:
        case PayAsYouGo():
            return _by_tier(_by_status(hours), card, "")
        case MarkUp():
            text = f"cost × {float(plan.factor):g}"
            return [InvoiceLine(text, everything, plan.charge(everything.cost_nanousd))]
        case Quote():
            return [InvoiceLine("as quoted", everything, Fraction(quote_usd or 0))]
        case Subscription():
            return _subscribed(plan, hours, card)


def _subscribed(plan: Subscription, hours: Sequence[LedgerHour], card: RateCard) -> list[InvoiceLine]:
    counting = [hour for hour in hours if hour.status not in card.free]
    within, beyond = NO_AMOUNTS, dict.fromkeys(Status, NO_AMOUNTS)
    for part in split_at_quota(counting, plan.requests):
        beyond_one = Amounts(part.requests_beyond, part.tokens_beyond, part.cost_beyond_nanousd)
        whole = Amounts.of(part.hour)
        within += Amounts(
            whole.requests - beyond_one.requests,
            whole.tokens - beyond_one.tokens,
            whole.cost_nanousd - beyond_one.cost_nanousd,
        )
        beyond[part.hour.status] += beyond_one
    lines = [InvoiceLine(f"{plan.requests:,} requests a month", within, Fraction(plan.usd_per_month))]
    if plan.hybrid:
        lines += _by_tier(beyond, card, ", beyond the quota")
    elif over := sum(beyond.values(), NO_AMOUNTS):
        lines.append(InvoiceLine("beyond the quota, not charged", over, Fraction()))
    free = [hour for hour in hours if hour.status in card.free]
    return lines + _uncharged(sum(map(Amounts.of, free), NO_AMOUNTS))


def _by_status(hours: Iterable[LedgerHour]) -> Mapping[Status, Amounts]:
    used = dict.fromkeys(Status, NO_AMOUNTS)
    for hour in hours:
        used[hour.status] += Amounts.of(hour)
    return used


def _by_tier(used: Mapping[Status, Amounts], card: RateCard, beyond: str) -> list[InvoiceLine]:
    lines = []
    for tier in card.tiers:
        amounts = sum((used[status] for status in tier.statuses), NO_AMOUNTS)
        if amounts:
            lines.append(InvoiceLine(tier.name + beyond, amounts, tier.charge(amounts.tokens)))
    return lines + _uncharged(sum((used[status] for status in card.free), NO_AMOUNTS))


def _uncharged(amounts: Amounts) -> list[InvoiceLine]:
    return [InvoiceLine("not charged", amounts, Fraction())] if amounts else []
