"""What each tenant's requests came to since the start: counted beside the metrics, whose labels name no tenant."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from semcache.model import LedgerRecord, Status, TenantCounts
from semcache.observe.tally import OTHER

MAX_TENANTS = 10_000
"""Tenants whose counts are kept, about 1 kB each. Gateways may name any number of them."""
_MAX_MODELS = 64
"""Models without a price that are counted by name for one tenant; later ones count as `other`."""


@dataclass(slots=True)
class _Counts:
    requests: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    spent_nanousd: int = 0
    saved_nanousd: int = 0
    unpriced: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)


class Tenants:
    """Counts by tenant. Whoever uses it holds the lock of the metrics.

    Args:
        max_tenants: tenants that are kept. Beyond them the one that asked least recently is forgotten, and would count
            from 0 again.
    """

    def __init__(self, max_tenants: int = MAX_TENANTS) -> None:
        self._max_tenants = max_tenants
        self._counts: OrderedDict[str, _Counts] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Tenants {len(self._counts)}>"

    def add(self, record: LedgerRecord, spent_nanousd: int, saved_nanousd: int) -> None:
        """Count a ledger line for its tenant; the amounts are its totals, which whoever calls has at hand."""
        counts = self._counts.get(record.tenant)
        if counts is None:
            counts = self._open(record.tenant)
        else:
            self._counts.move_to_end(record.tenant)
        if record.requests:
            counts.requests[record.status] += record.requests
        counts.spent_nanousd += spent_nanousd
        counts.saved_nanousd += saved_nanousd

    def add_unpriced(self, tenant: str, model: str) -> None:
        """Count a request for a model without a known price."""
        unpriced = self._open(tenant).unpriced
        name = model if model in unpriced or len(unpriced) < _MAX_MODELS else OTHER
        unpriced[name] = unpriced.get(name, 0) + 1

    def add_verdict(self, tenant: str, verdict: str) -> None:
        """Count a verdict on a hit of the tenant's."""
        verdicts = self._open(tenant).verdicts
        verdicts[verdict] = verdicts.get(verdict, 0) + 1

    def counts(self, tenant: str) -> TenantCounts:
        """Return a copy of what was counted for a tenant; all 0 for one that has asked nothing."""
        counts = self._counts.get(tenant) or _Counts()
        return TenantCounts(
            requests=dict(counts.requests),
            spent_nanousd=counts.spent_nanousd,
            saved_nanousd=counts.saved_nanousd,
            unpriced_models=dict(counts.unpriced),
            verdicts=dict(counts.verdicts),
        )

    def _open(self, tenant: str) -> _Counts:
        """Return the counts of a tenant, made at their first use."""
        counts = self._counts.get(tenant)
        if counts is None:
            if len(self._counts) >= self._max_tenants:
                self._counts.popitem(last=False)
            counts = self._counts[tenant] = _Counts()
        return counts
