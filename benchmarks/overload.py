"""Ask twice as much of a server as it can answer, and hold what becomes of the calls against the limits.

Two servers: one whose device is the bottleneck, and one whose event loop is. For each: the capacity in a closed loop,
the latencies of an open loop just below it, then twice the capacity for as long as `--minutes` says, then half of it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import BUSY, COMPLETE
from benchmarks.measurements import Measurement, report
from benchmarks.server_process import MODEL, complete_request, scratch
from benchmarks.worker import Worker

ENTRIES = 500
HITS = 0.2
"""The share of calls that are exact hits."""
CALIBRATION_S = 8.0
NORMAL_S = 15.0
RECOVERY_S = 6.0
SERVERS = {"device": 5.0, "event loop": 0.05}
"""The milliseconds that a text takes on the device, by the part of the server that is the bottleneck."""
REFUSALS = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")


@dataclass(frozen=True, slots=True)
class Call:
    """One call: when it began, how long it took, whether it was a hit, and "ok" or the code that it ended with."""

    at_s: float
    latency_s: float
    kind: str
    end: str


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


class Rig:
    """A server, its upstream and a generator."""

    def __init__(self, folder: Path, text_ms: float) -> None:
        folder.mkdir()
        self.upstream = Worker("benchmarks.overload_server", log=folder / "upstream.log")
        target = {"name": "t", "base_url": self.upstream.ready["base_url"], "free": True}
        settings = {
            "server": {"port": 0, "http": {"port": 0}},
            "metrics": {"port": 0},
            "store": {"path": str(folder / "store")},
            "log": {"format": "json", "level": "warning"},
            "upstream": {"targets": [target], "routes": [{"alias": MODEL, "target": "t"}]},
            "limits": {"tenant_in_flight": 1024},
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        arguments = ("--settings", str(folder / "settings.json"), "--text-ms", str(text_ms))
        self.server = Worker("benchmarks.overload_server", *arguments, log=folder / "server.log")
        self.generator = Worker("benchmarks.open_loop", log=folder / "generator.log")

    def load(self, seconds: float, **job: Any) -> list[Call]:
        job = {"hits": HITS, "entries": ENTRIES, "seconds": seconds, **job, "address": self.server.ready["address"]}
        answer = self.generator.ask(job)
        if answer["cpu_s"] > BUSY * answer["wall_s"]:
            print("  (the generator took a whole core: it may be what limits)")
        return [Call(*call) for call in answer["calls"]]

    def metrics(self) -> dict[str, float]:
        url = f"http://127.0.0.1:{self.server.ready['metrics_port']}/metrics"
        with urllib.request.urlopen(url) as page:
            lines = [line for line in page.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def uncounted(self) -> float:
        """Return by how many calls the counters disagree: those that began, less those that ended or run."""
        page = self.metrics()

        def total(name: str) -> float:
            return sum(value for key, value in page.items() if key.startswith(name + "{"))

        return abs(
            total("semcache_calls_started_total") - total("semcache_calls_total") - total("semcache_calls_in_flight")
        )

    def fill(self) -> None:
        import grpc

        with grpc.insecure_channel(self.server.ready["address"]) as channel:
            call = channel.unary_unary(COMPLETE)
            for number in range(ENTRIES):
                call(complete_request(f"stored question {number}"), timeout=30)

    def close(self) -> None:
        for worker in (self.generator, self.server, self.upstream):
            worker.close()


def recovery_s(calls: Sequence[Call], normal_s: float) -> float:
    """Return when the last quarter of a second ended that had a refusal, or a 90th percentile of twice the normal."""
    last_s = 0.0
    for quarter in range(math.ceil(RECOVERY_S * 4)):
        among = [call for call in calls if quarter <= call.at_s * 4 < quarter + 1]
        slow = percentile((call.latency_s for call in among), 0.9) > 2 * normal_s
        if slow or any(call.end != "ok" for call in among):
            last_s = (quarter + 1) / 4
    return last_s


def measure(name: str, folder: Path, text_ms: float, minutes: float) -> list[Measurement]:
    rig = Rig(folder, text_ms)
    try:
        rig.fill()
        rig.load(2.0, callers=64)
        closed = rig.load(CALIBRATION_S, callers=64)
        rate = sum(call.end == "ok" for call in closed) / CALIBRATION_S
        normal = rig.load(NORMAL_S, rate=0.9 * rate)
        before = [rig.load(minutes * 10, rate=2 * rate)]
        memory = rig.server.memory().anonymous
        before += [rig.load(minutes * 10, rate=2 * rate) for _ in range(5)]
        grown = rig.server.memory().anonymous / memory
        after = rig.load(RECOVERY_S, rate=0.5 * rate)
        uncounted = rig.uncounted()
    finally:
        rig.close()
    calls = [call for part in before for call in part]
    accepted = [call for call in calls if call.end == "ok"]
    refused = [call for call in calls if call.end in REFUSALS]
    hits = [call for call in calls if call.kind == "hit"]
    normal_s = percentile((call.latency_s for call in normal if call.end == "ok"), 0.99)
    accepted_s = percentile((call.latency_s for call in accepted), 0.99)
    print(f"\n{name}: capacity {rate:.0f}/s; ends at twice of it: {dict(Counter(call.end for call in calls))}")
    print(f"  at 0.9 of it: p99 {normal_s * 1000:.0f} ms, ends {dict(Counter(call.end for call in normal))}")
    new_s = [call.latency_s for call in accepted if call.kind == "new"]
    hit_s = [call.latency_s for call in hits if call.end == "ok"]
    for label, values in (("new, answered", new_s), ("hits", hit_s), ("refusals", [c.latency_s for c in refused])):
        shown = ", ".join(f"p{share:.0%} {percentile(values, share) * 1000:.0f} ms" for share in (0.5, 0.9, 0.99))
        print(f"  {label}: {len(values)}, {shown}".replace("%", ""))
    share = sum(call.end == "ok" for call in hits) / len(hits)
    answered = len(accepted) / (minutes * 60) / rate
    return [
        Measurement(f"{name}: p99 of answered calls / at capacity", "×", (accepted_s / normal_s,), at_most=5),
        Measurement(f"{name}: p99 of refusals", "ms", (percentile((c.latency_s for c in refused), 0.99) * 1000,), 50),
        Measurement(f"{name}: other ends", "", (len(calls) - len(accepted) - len(refused),), at_most=0),
        Measurement(f"{name}: exact hits answered", "", (share,), at_least=1),
        Measurement(f"{name}: answered calls / capacity", "×", (answered,), at_least=0.8),
        Measurement(f"{name}: until all is normal again", "s", (recovery_s(after, normal_s),), at_most=3),
        Measurement(f"{name}: memory, end / a sixth of the time", "×", (grown,), at_most=1.1),
        Measurement(f"{name}: calls that no counter has", "", (uncounted,), at_most=0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="of twice the capacity, for each server")
    parser.add_argument("--only", choices=list(SERVERS), help="this server alone")
    options = parser.parse_args()
    measurements: list[Measurement] = []
    with scratch() as folder:
        for number, (name, text_ms) in enumerate(SERVERS.items()):
            if options.only in {None, name}:
                measurements += measure(name, folder / str(number), text_ms, options.minutes)
    report("overload", measurements, details={"minutes": options.minutes})
    sys.exit(any(measurement.met is False for measurement in measurements))


if __name__ == "__main__":
    main()
