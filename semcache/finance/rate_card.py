"""What tenants are charged: tiers by how a request was answered, and plans. A provider's own prices are a `Tariff`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from semcache.model import NANOUSD_PER_USD, Status

_TOKENS_PER_PRICE = 1000


@dataclass(frozen=True, slots=True)
class VolumeBand:
    """A month's tokens from `from_tokens` up to `to_tokens` (None: without end), at dollars per thousand tokens."""

    from_tokens: int
    to_tokens: int | None
    usd_per_1k_tokens: Decimal

    def charge(self, tokens: int) -> Fraction:
        """Dollars for those of a month's tokens that lie in the band."""
        upper = tokens if self.to_tokens is None else min(tokens, self.to_tokens)
        return Fraction(self.usd_per_1k_tokens) * max(0, upper - self.from_tokens) / _TOKENS_PER_PRICE


@dataclass(frozen=True, slots=True)
class Tier:
    """What tokens of requests that ended in certain ways cost. The bands follow each other from 0 without a gap."""

    name: str
    statuses: frozenset[Status]
    bands: tuple[VolumeBand, ...]

    def charge(self, tokens: int) -> Fraction:
        """Dollars for a month's tokens, each at the price of the band that it falls in."""
        return sum((band.charge(tokens) for band in self.bands), Fraction())


@dataclass(frozen=True, slots=True)
class PayAsYouGo:
    """Tokens at the tiers' prices."""

    name: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """A monthly price for a number of requests.

    `hybrid`: what is beyond them is paid as you go; otherwise nothing is charged for it.
    """

    name: str
    usd_per_month: Decimal
    requests: int
    hybrid: bool


@dataclass(frozen=True, slots=True)
class Quote:
    """A monthly price that was agreed with each tenant by itself."""

    name: str


@dataclass(frozen=True, slots=True)
class MarkUp:
    """What the upstreams charged, times 1 + profit + risk + operations."""

    name: str
    profit: Decimal
    risk: Decimal
    operations: Decimal

    @property
    def factor(self) -> Fraction:
        """The price of a dollar's cost."""
        return 1 + Fraction(self.profit) + Fraction(self.risk) + Fraction(self.operations)

    def charge(self, cost_nanousd: int) -> Fraction:
        """Dollars for what the upstreams charged."""
        return Fraction(cost_nanousd, NANOUSD_PER_USD) * self.factor


Plan = PayAsYouGo | Subscription | Quote | MarkUp


@dataclass(frozen=True, slots=True)
class Assignment:
    """A tenant's plan, and its price where that is agreed with the tenant."""

    plan: str
    quote_usd_per_month: Decimal | None = None


@dataclass(frozen=True, slots=True)
class RateCard:
    """The whole of it.

    Attributes:
        tiers: with `free`, each status is in exactly one.
        free: statuses that nothing is charged for, and that use up no quota.
        plans: by name.
        default_plan: of tenants that aren't listed.
        tenants: those that are.
        version: names the file's content.
    """

    tiers: Sequence[Tier]
    free: frozenset[Status]
    plans: Mapping[str, Plan]
    default_plan: str
    tenants: Mapping[str, Assignment] = field(default_factory=dict)
    version: str = ""

    def assignment(self, tenant: str) -> Assignment:
        """The tenant's plan, or the default one."""
        return self.tenants.get(tenant) or Assignment(self.default_plan)
