"""Time calls that take microseconds, in this process: medians and quartiles of rounds, against limits."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping

ROUNDS = 40
CALLS = 2_000


def microseconds(call: Callable[[], object]) -> float:
    """Return the mean time of a call over `CALLS` calls, in microseconds."""
    start_ns = time.perf_counter_ns()
    for _ in range(CALLS):
        call()
    return (time.perf_counter_ns() - start_ns) / CALLS / 1000


def run(title: str, calls: Mapping[str, Callable[[], object]], limits_us: Mapping[str, float], about: str = "") -> None:
    """Run the command; `--json` adds one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args()
    measurements: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):  # in turn, so that a noisy moment affects all
        for name, call in calls.items():
            measurements[name].append(microseconds(call))

    print(f"{title}, {ROUNDS} rounds of {CALLS}, Python {platform.python_version()}")
    print(f"{'':<32}{'median µs':>10}{'quartiles':>16}{'limit':>8}")
    results = {}
    for name, values in measurements.items():
        low, median, high = statistics.quantiles(values, n=4)
        limit_us = limits_us.get(name)
        results[name] = {"median_us": median, "quartiles_us": [low, high], "limit_us": limit_us}
        limit = "" if limit_us is None else f"{limit_us:.0f}"
        print(f"{name:<32}{median:>10.1f}{f'{low:.1f} – {high:.1f}':>16}{limit:>8}")
    if arguments.json:
        print(json.dumps(results))
