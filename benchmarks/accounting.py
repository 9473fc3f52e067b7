"""What accounting adds to a request: pricing it, building its ledger line, and counting it, in this process.

`python -m benchmarks.accounting [--json]`; microseconds per request, the median of rounds with the quartiles beside it.
The store's own note of the record is not in it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from semcache.costs.prices import PriceBook
from semcache.model import ZERO_COST, LedgerRecord, Status, Usage
from semcache.observe.metrics import Metrics
from semcache.settings import CostSettings, MetricsSettings

LIMITS_US = {"exact hit": 30.0, "semantic hit": 30.0, "miss": 60.0}
ROUNDS = 40
REQUESTS = 2_000
USAGE = Usage(input_tokens=1_234, cached_input_tokens=200, output_tokens=321)
_EXACT = (("parse", 3e-5), ("key", 5e-5), ("exact", 2e-5))
_SEMANTIC = (*_EXACT, ("embed", 4e-3), ("search", 3e-4), ("decide", 1e-4))
STAGES = {"exact hit": _EXACT, "semantic hit": _SEMANTIC, "miss": (*_SEMANTIC, ("upstream", 1.3), ("store", 6e-3))}
STATUSES = {"exact hit": Status.EXACT_HIT, "semantic hit": Status.SEMANTIC_HIT, "miss": Status.MISS}


class SystemClock:
    """The machine's own time."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


def request(kind: str, prices: PriceBook, metrics: Metrics, clock: SystemClock) -> Callable[[], None]:
    status, stages = STATUSES[kind], STAGES[kind]

    def account() -> None:
        at_s = clock.wall()
        cost = prices.cost("gpt-4o", USAGE, at_s)
        hit = status is not Status.MISS
        record = LedgerRecord(
            request_id="0193b1c2a7f0-5f0c2e",
            at_s=at_s,
            tenant="default",
            namespace="default",
            alias="gpt-4o",
            model="gpt-4o",
            task_type="support",
            status=status,
            usage=USAGE,
            spent=ZERO_COST if hit else cost,
            saved=cost if hit else ZERO_COST,
            entry_id=17,
            similarity=0.98,
            latency_s=0.0049,
        )
        metrics.request_done(record, stages, "similar_enough" if hit else "no_candidate")

    return account


def microseconds(call: Callable[[], object], calls: int) -> float:
    start_ns = time.perf_counter_ns()
    for _ in range(calls):
        call()
    return (time.perf_counter_ns() - start_ns) / calls / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args()
    clock = SystemClock()
    prices = PriceBook.open(CostSettings())
    metrics = Metrics(CollectorRegistry(), MetricsSettings(), clock, ["gpt-4o"])
    calls: dict[str, Callable[[], object]] = {kind: request(kind, prices, metrics, clock) for kind in STATUSES}
    calls["(the price alone)"] = lambda: prices.cost("gpt-4o", USAGE, clock.wall())
    figures: dict[str, list[float]] = {kind: [] for kind in calls}
    for _ in range(ROUNDS):  # in turn, so that a noisy moment falls on all
        for kind, call in calls.items():
            figures[kind].append(microseconds(call, REQUESTS))

    print(f"Accounting per request, {ROUNDS} rounds of {REQUESTS}, Python {platform.python_version()}")
    print(f"{'':<20}{'median µs':>10}{'quartiles':>16}{'limit':>8}")
    results = {}
    for kind, values in figures.items():
        low, median, high = statistics.quantiles(values, n=4)
        limit_us = LIMITS_US.get(kind)
        results[kind] = {"median_us": median, "quartiles_us": [low, high], "limit_us": limit_us}
        limit = "" if limit_us is None else f"{limit_us:.0f}"
        print(f"{kind:<20}{median:>10.1f}{f'{low:.1f} – {high:.1f}':>16}{limit:>8}")
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
