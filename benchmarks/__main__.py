"""Run the benchmarks one after the other, each in a process of its own: `python -m benchmarks [NAME…] [--save]`."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.packages import versions
from benchmarks.worker import ROOT

BENCHMARKS: dict[str, list[str]] = {
    "exact_hit": [],
    "http": [],
    "encryption": [],
    "semantic_hit": [],
    "batch": [],
    "latency": [],
    "mixed_lengths": [],
    "attention": [],
    "startup": [],
    "page_walk": [],
    "accounting": ["--json"],
    "books": ["--json"],
    "routing": ["--json"],
    "stages": ["--json"],
    "recall": [],
    "templates": [],
    "neighbours": [],
    "guards": [],
    "overload": ["--minutes", "0.5"],
    "hit_rate": [],
    "gpu": [],
}
LIMIT_S = 600
PACKAGES = (
    "grpcio",
    "uvicorn",
    "starlette",
    "httptools",
    "torch",
    "faiss-cpu",
    "faiss-gpu",
    "openvino",
    "sentence-transformers",
    "lmdb",
    "numpy",
)
RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> dict[str, Any]:
    """Describe the machine: processor, memory, versions."""
    model = platform.processor()
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    flags: set[str] = set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            model = value.strip()
        elif name.strip() == "flags":
            flags = set(value.split())
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_bytes / 1024**3, 1),
        "instructions": sorted(flags & {"amx_bf16", "avx512_bf16", "avx512_vnni", "avx_vnni"}),
        "python": platform.python_version(),
        "packages": versions(PACKAGES),
    }


def run(name: str) -> dict[str, Any]:
    """Run one benchmark: print its text, and return its last line, one JSON object."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *BENCHMARKS[name]]
    started = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"benchmark": name, "failed": f"took longer than {LIMIT_S} s"}
    lines = done.stdout.splitlines()
    try:
        result: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        reason = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        print(f"\n{name}\n  {reason}")
        # A command that ends with one sentence and no traceback lacks something that it needs.
        kind = "failed" if "Traceback" in done.stderr or done.returncode == 0 else "skipped"
        if kind == "failed":
            print(done.stderr, file=sys.stderr)
        return {"benchmark": name, kind: reason}
    print("\n".join(lines[:-1]))
    if done.returncode:
        result["failed"] = f"ended with {done.returncode}"
    return {"benchmark": name, **result, "seconds": round(time.monotonic() - started, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; none: all")
    parser.add_argument("--save", action="store_true", help=f"keep the results in {RESULTS.relative_to(ROOT)}/")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    where = machine()
    instructions = ", ".join(where["instructions"]) or "no bf16 or int8 instructions"
    print(
        f"{where['processor']}, {where['cores']} cores ({instructions}), "
        f"{where['memory_gib']} GiB, Python {where['python']}; load {os.getloadavg()[0]:.1f}"
    )
    print(", ".join(f"{package} {number}" for package, number in where["packages"].items()), flush=True)
    results = [run(name) for name in options.names or BENCHMARKS]
    measurements = [
        (result["benchmark"], measurement) for result in results for measurement in result.get("measurements", [])
    ]
    targets = [(name, measurement) for name, measurement in measurements if measurement["met"] is not None]
    if targets:
        print("\nTargets")
        width = max(len(f"{name}: {measurement['name']}") for name, measurement in targets)
        for name, measurement in targets:
            title = f"{name}: {measurement['name']}".ljust(width)
            verdict = "met" if measurement["met"] else "MISSED"
            median, unit, target = measurement["median"], measurement["unit"], measurement["target"]
            print(f"  {title}  {median:>9.4g} {unit:<3}{target:>8}  {verdict}")
    for result in results:
        for kind in ("skipped", "failed"):
            if kind in result:
                print(f"  {result['benchmark']}: {kind}: {result[kind]}")
    if options.save:
        now = dt.datetime.now(dt.UTC)
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
        path.write_text(json.dumps({"at": now.isoformat(), "machine": where, "results": results}, indent=2))
        print(f"\nkept in {path.relative_to(ROOT)}")
    sys.exit(any("failed" in result for result in results))


if __name__ == "__main__":
    main()
