"""Computes a month's invoices from the ledger, one for each tenant, and checks that they add up to the ledger.

Amounts are exact fractions of dollars up to an invoice's total, which is rounded to cents once, half to even. Tokens,
requests and costs are integers, and are split without a remainder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import groupby

from semcache.finance.quota import split_at_quota
from semcache.finance.rate_card import MarkUp, PayAsYouGo, PricePlan, Quote, RateCard, Subscription
from semcache.model import LedgerHour, Status

LINE_DECIMALS = 6
"""Decimals shown of a line's amount in dollars. The amount is exact; only an invoice's total is rounded to cents."""
_CENTS_PER_USD = 100


@dataclass(frozen=True, slots=True)
class Amounts:
    """Sums over requests of the ledger.

    Attributes:
        requests: the number of requests.
        tokens: their input and output tokens.
        cost_nanousd: nanodollars that the upstreams charged.
    """

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
        """Return the amounts of one ledger hour; a hit counts the tokens of the answer that the cache gave."""
        return cls(hour.requests, hour.input_tokens + hour.output_tokens, hour.spent_nanousd)


NO_AMOUNTS = Amounts()


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line of an invoice.

    Attributes:
        text: what is charged for.
        used: the requests that the line is about.
        usd: the exact charge in dollars.
    """

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
        """The sum of all lines' requests."""
        return sum((line.used for line in self.lines), NO_AMOUNTS)

    @property
    def total_usd(self) -> Decimal:
        """The dollars due: the exact sum of the lines, rounded to cents, half to even."""
        exact = sum((line.usd for line in self.lines), Fraction())
        return Decimal(round(exact * _CENTS_PER_USD)).scaleb(-2)


@dataclass(frozen=True, slots=True)
class Chargeback:
    """All invoices of a month, and the sums of the ledger.

    Attributes:
        invoices: one for each tenant, by name.
        ledger: the sum of all ledger hours of these tenants.
    """

    invoices: tuple[Invoice, ...]
    ledger: Amounts

    @property
    def invoiced(self) -> Amounts:
        """The sum of all invoices' requests."""
        return sum((invoice.used for invoice in self.invoices), NO_AMOUNTS)

    @property
    def adds_up(self) -> bool:
        """Whether the invoices' requests, tokens and cost equal the ledger's, to the nanodollar."""
        return self.invoiced == self.ledger

    @property
    def total_usd(self) -> Decimal:
        """The sum of all invoices' totals, in dollars."""
        return sum((invoice.total_usd for invoice in self.invoices), Decimal(0))


def chargeback(hours: Iterable[LedgerHour], card: RateCard, tenants: Collection[str] = ()) -> Chargeback:
    """Return the invoices of a month.

    A tenant of the rate card with a monthly price gets an invoice even if it sent no request.

    Args:
        hours: the month's ledger hours, each once, in any order.
        card: the prices.
        tenants: the tenants to invoice; empty for all.
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


def _lines(
    plan: PricePlan, quote_usd: Decimal | None, hours: Sequence[LedgerHour], card: RateCard
) -> list[InvoiceLine]:
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
        excess = Amounts(part.requests_beyond, part.tokens_beyond, part.cost_beyond_nanousd)
        whole = Amounts.of(part.hour)
        within += Amounts(
            whole.requests - excess.requests,
            whole.tokens - excess.tokens,
            whole.cost_nanousd - excess.cost_nanousd,
        )
        beyond[part.hour.status] += excess
    lines = [InvoiceLine(f"{plan.requests:,} requests a month", within, Fraction(plan.usd_per_month))]
    if plan.hybrid:
        lines += _by_tier(beyond, card, ", beyond the quota")
    elif excess := sum(beyond.values(), NO_AMOUNTS):
        lines.append(InvoiceLine("beyond the quota, not charged", excess, Fraction()))
    free = [hour for hour in hours if hour.status in card.free]
    return lines + _uncharged(sum(map(Amounts.of, free), NO_AMOUNTS))


def _by_status(hours: Iterable[LedgerHour]) -> Mapping[Status, Amounts]:
    used = dict.fromkeys(Status, NO_AMOUNTS)
    for hour in hours:
        used[hour.status] += Amounts.of(hour)
    return used


def _by_tier(used: Mapping[Status, Amounts], card: RateCard, suffix: str) -> list[InvoiceLine]:
    """Return a line for each price tier with requests; `suffix` is appended to the tiers' names."""
    lines = []
    for tier in card.tiers:
        amounts = sum((used[status] for status in tier.statuses), NO_AMOUNTS)
        if amounts:
            lines.append(InvoiceLine(tier.name + suffix, amounts, tier.charge(amounts.tokens)))
    return lines + _uncharged(sum((used[status] for status in card.free), NO_AMOUNTS))


def _uncharged(amounts: Amounts) -> list[InvoiceLine]:
    return [InvoiceLine("not charged", amounts, Fraction())] if amounts else []
