"""What routing adds to a miss: the route, the choice of a target, the books of breakers and budget, in this process.

`python -m benchmarks.routing [--json]`; microseconds per call, the median of rounds with the quartiles beside it. The
exchange with the target is not in it. The time moves on with each call, so that the sliding windows move too.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Callable

from semcache.errors import UpstreamError
from semcache.settings import UpstreamSettings
from semcache.upstream.fleet import Fleet
from semcache.upstream.modes import DegradedMode
from semcache.upstream.retry_budget import RetryBudget
from semcache.upstream.routes import RouteTable, without
from semcache.upstream.tries import Tries

KINDS = ("one target", "three targets, two fallbacks", "one of three dead", "one fails, another answers")
LIMIT_US = 50.0
ROUNDS = 40
CALLS = 2_000
CALLS_PER_S = 500.0
DOWN = UpstreamError("down", http_status=503)
SETTINGS = UpstreamSettings.model_validate(
    {
        "targets": [{"name": name, "base_url": f"http://{name}.test/v1"} for name in "abcd"],
        "routes": [
            {"alias": "*", "target": "d"},
            {"alias": "small", "target": "a"},
            {
                "alias": "big",
                "task_type": "code",
                "targets": [{"target": "a", "weight": 3}, {"target": "b"}, {"target": "c"}],
                "fallbacks": ["small", {"alias": "mini", "degraded": True}],
                "degraded": "mini",
            },
            {"alias": "mini", "target": "d"},
            {"alias": "shaky", "target": "a", "fallbacks": ["mini"]},
        ],
        "degraded": {
            "enabled": True,
            "error_rate_enter": 0.9,
            "error_rate_leave": 0.5,
            "p95_enter_s": 99.0,
            "p95_leave_s": 9.0,
        },
    }
)
TOLERANT = SETTINGS.model_copy(
    update={
        "retry": SETTINGS.retry.model_copy(update={"budget_ratio": 1.0}),
        "breaker": SETTINGS.breaker.model_copy(update={"failures": 10**9, "min_samples": 10**9}),
    }
)
"""Under which a target may fail every call and is asked again: what a try beyond the first costs."""


class Routing:
    """The router's shared state, and one call after the other through it."""

    def __init__(self, alias: str, failing: str = "", settings: UpstreamSettings = SETTINGS) -> None:
        self._alias = alias
        self._failing = failing
        self._now_s = 0.0
        self._retry = settings.retry
        self._routes = RouteTable(settings)
        self._fleet = Fleet((target.name for target in settings.targets), settings.breaker)
        self._budget = RetryBudget(settings.retry)
        self._mode = DegradedMode(settings.degraded)
        self._rng = random.Random(0)

    def call(self) -> None:
        self._now_s = now_s = self._now_s + 1 / CALLS_PER_S
        degraded = "mini_model" in self._mode.current(now_s).measures
        plan = self._routes.resolve(self._alias, "code", "high", degraded=degraded)
        tries = Tries(
            without(plan, frozenset()),
            now_s + 300.0,
            fleet=self._fleet,
            budget=self._budget,
            settings=self._retry,
            rng=self._rng,
        )
        place = tries.next(now_s).destination
        tries.begin(place, now_s)
        if place.target == self._failing:
            tries.failed(DOWN, now_s)
            tries.begin(tries.next(now_s).destination, now_s)
        tries.succeeded(now_s)
        self._mode.observe(now_s, 1.3, failed=False)


def cases() -> dict[str, Callable[[], object]]:
    table = RouteTable(SETTINGS)
    found = (
        Routing("small"),
        Routing("big"),
        Routing("big", failing="b"),
        Routing("shaky", failing="a", settings=TOLERANT),
    )
    return {
        **{kind: routing.call for kind, routing in zip(KINDS, found, strict=True)},
        "(the route alone)": lambda: table.resolve("big", "code", "high"),
    }


def microseconds(call: Callable[[], object], calls: int) -> float:
    start_ns = time.perf_counter_ns()
    for _ in range(calls):
        call()
    return (time.perf_counter_ns() - start_ns) / calls / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args()
    calls = cases()
    figures: dict[str, list[float]] = {kind: [] for kind in calls}
    for _ in range(ROUNDS):  # in turn, so that a noisy moment falls on all
        for kind, call in calls.items():
            figures[kind].append(microseconds(call, CALLS))

    print(f"Routing per call, {ROUNDS} rounds of {CALLS}, Python {platform.python_version()}")
    print(f"{'':<30}{'median µs':>10}{'quartiles':>16}{'limit':>8}")
    results = {}
    for kind, values in figures.items():
        low, median, high = statistics.quantiles(values, n=4)
        limit_us = LIMIT_US if kind in KINDS else None
        results[kind] = {"median_us": median, "quartiles_us": [low, high], "limit_us": limit_us}
        limit = "" if limit_us is None else f"{limit_us:.0f}"
        print(f"{kind:<30}{median:>10.1f}{f'{low:.1f} – {high:.1f}':>16}{limit:>8}")
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
