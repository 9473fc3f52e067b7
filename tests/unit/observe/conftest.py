"""A clock that stands still, metrics on a registry of their own, and ledger lines."""

from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from semcache.model import NO_COST, ZERO_COST, Cost, LedgerRecord, Status, Usage
from semcache.observe.metrics import Metrics
from semcache.settings import MetricsSettings


@dataclass
class StillClock:
    now_s: float = 1_000_000.0

    def monotonic(self):
        return self.now_s

    def wall(self):
        return self.now_s


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry, clock):
    return Metrics(registry, MetricsSettings(), clock, ["gpt-4o", "fast"])


@pytest.fixture
def record():
    """`record(status, spent=…, saved=…, …)`: a ledger line of 100 + 10 tokens; money in nanodollars, None: unpriced."""

    def record(status, spent=0, saved=0, **fields):
        line = LedgerRecord(
            request_id="r",
            at_s=0.0,
            tenant="t",
            namespace="n",
            alias="fast",
            model="gpt-4o",
            task_type="code",
            status=status,
            usage=Usage(100, 0, 10) if status not in {Status.ERROR, Status.CANCELLED} else Usage(),
            spent=NO_COST if spent is None else ZERO_COST._replace(output_nanousd=spent),
            saved=NO_COST if saved is None else Cost(output_nanousd=saved, priced=True),
            latency_s=0.004,
        )
        return line._replace(**fields)

    return record
