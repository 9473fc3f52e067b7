"""The rate card: what tenants are charged, by price tiers and price plans. A provider's own prices are a `Tariff`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from semcache.model import NANOUSD_PER_USD, Status

_TOKENS_PER_PRICE = 1000


@dataclass(frozen=True, slots=True)
class VolumeBand:
    """A price for a range of a month's tokens.

    Attributes:
        from_tokens: where the range begins.
        to_tokens: where it ends; None for no end.
        usd_per_1k_tokens: dollars for a thousand tokens.
    """

    from_tokens: int
    to_tokens: int | None
    usd_per_1k_tokens: Decimal

    def charge(self, tokens: int) -> Fraction:
        """Return the dollars for the part of a month's tokens that lies in the band."""
        upper = tokens if self.to_tokens is None else min(tokens, self.to_tokens)
        return Fraction(self.usd_per_1k_tokens) * max(0, upper - self.from_tokens) / _TOKENS_PER_PRICE


@dataclass(frozen=True, slots=True)
class PriceTier:
    """The prices of tokens of requests with certain statuses.

    Attributes:
        name: the tier's name on an invoice.
        statuses: the statuses of its requests.
        bands: the prices by volume; they follow each other from 0 without a gap.
    """

    name: str
    statuses: frozenset[Status]
    bands: tuple[VolumeBand, ...]

    def charge(self, tokens: int) -> Fraction:
        """Return the dollars for a month's tokens, each at the price of its band."""
        return sum((band.charge(tokens) for band in self.bands), Fraction())


@dataclass(frozen=True, slots=True)
class PayAsYouGo:
    """A price plan: tokens at the price tiers' prices."""

    name: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """A price plan: a monthly price for a number of requests.

    Attributes:
        name: the plan's name.
        usd_per_month: the monthly price in dollars.
        requests: the number of included requests.
        hybrid: whether requests beyond them are charged by the price tiers; if not, they are free.
    """

    name: str
    usd_per_month: Decimal
    requests: int
    hybrid: bool


@dataclass(frozen=True, slots=True)
class Quote:
    """A price plan: a monthly price that is agreed with each tenant separately."""

    name: str


@dataclass(frozen=True, slots=True)
class MarkUp:
    """A price plan: what the upstreams charged, times 1 + profit + risk + operations."""

    name: str
    profit: Decimal
    risk: Decimal
    operations: Decimal

    @property
    def factor(self) -> Fraction:
        """The dollars charged for each dollar of cost."""
        return 1 + Fraction(self.profit) + Fraction(self.risk) + Fraction(self.operations)

    def charge(self, cost_nanousd: int) -> Fraction:
        """Return the dollars charged for a cost in nanodollars."""
        return Fraction(cost_nanousd, NANOUSD_PER_USD) * self.factor


PricePlan = PayAsYouGo | Subscription | Quote | MarkUp


@dataclass(frozen=True, slots=True)
class Assignment:
    """A tenant's price plan, and the monthly price in dollars if the plan is a quote."""

    plan: str
    quote_usd_per_month: Decimal | None = None


@dataclass(frozen=True, slots=True)
class RateCard:
    """All prices that tenants are charged.

    Attributes:
        tiers: the price tiers. Each status is either in exactly one tier or in `free`.
        free: the statuses that are not charged and use up no quota.
        plans: the price plans by name.
        default_plan: the plan of tenants that aren't listed.
        tenants: the plans of listed tenants.
        version: identifies the content of the rate card's file.
    """

    tiers: Sequence[PriceTier]
    free: frozenset[Status]
    plans: Mapping[str, PricePlan]
    default_plan: str
    tenants: Mapping[str, Assignment] = field(default_factory=dict)
    version: str = ""

    def assignment(self, tenant: str) -> Assignment:
        """Return the tenant's plan, or the default plan if the tenant isn't listed."""
        return self.tenants.get(tenant) or Assignment(self.default_plan)
