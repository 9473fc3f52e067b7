"""Run the nightly checks: `python -m tests.nightly [kills flips overload fuzz streams] [--seed N] [--out FILE]`.

Each check prints its progress. The last line, and the file of `--out`, is one JSON object with the figures of all. The
exit code is 1 if anything broke a promise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CHECKS = ("kills", "flips", "overload", "fuzz", "streams")


def kills(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from tests.nightly.kills import play

    return play(folder, rounds=options.kills, seed=options.seed).as_json()


def flips(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from tests.nightly.flips import play, play_headers

    headers = play_headers(folder / "headers", every=options.header_every)
    drawn = play(folder / "drawn", flips=options.flips, seed=options.seed).as_json()
    first_problems = [*headers.problems, *drawn["first_problems"]][:20]
    problems = len(headers.problems) + drawn["problems"]
    figures = {"headers_found": headers.found, "headers_harmless": headers.unfound}
    return {**drawn, **figures, "problems": problems, "first_problems": first_problems}


def overload(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the benchmark in a process of its own; its exit code says whether the promises were kept."""
    command = [sys.executable, "-m", "benchmarks.overload", "--minutes", str(options.overload_minutes)]
    lines: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    try:
        figures = json.loads(lines[-1])
    except (IndexError, ValueError):
        figures = {}
    problems = {"ended with": process.returncode} if process.returncode else {}
    return {**(figures if isinstance(figures, dict) else {"figures": figures}), "problems": problems}


def fuzz(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from tests.nightly.fuzz import fuzz as fuzz_targets

    names = [name for name in options.targets.split(",") if name]
    return fuzz_targets(folder, minutes=options.fuzz_minutes, seed_number=options.seed, names=names).as_json()


def streams(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from tests.nightly.streams import play_process

    return asyncio.run(play_process(folder, replayed=options.replayed, live=options.live)).as_json()


RUNS: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "kills": kills,
    "flips": flips,
    "overload": overload,
    "fuzz": fuzz,
    "streams": streams,
}


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m tests.nightly", description=__doc__)
    arguments.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}; none: all")
    arguments.add_argument("--kills", type=int, default=1_000, help="rounds of kill -9 (1,000)")
    arguments.add_argument("--flips", type=int, default=500, help="flipped bits and truncations (500)")
    arguments.add_argument("--header-every", type=int, default=1, help="of the headers' bits, every so many (1)")
    arguments.add_argument("--overload-minutes", type=float, default=60, help="at twice the capacity (60)")
    arguments.add_argument("--fuzz-minutes", type=float, default=60, help="of fuzzing (60)")
    arguments.add_argument("--targets", default="", metavar="NAME,NAME", help="targets of the fuzzing; empty: all")
    arguments.add_argument("--replayed", type=int, default=1_000, help="open streams from the cache (1,000)")
    arguments.add_argument("--live", type=int, default=200, help="open streams that wait for the upstream (200)")
    arguments.add_argument("--seed", type=int, default=1, help="of all that is drawn (1)")
    arguments.add_argument("--out", type=Path, help="a file for the JSON")
    return arguments


def main() -> None:
    arguments = parser()
    options = arguments.parse_args()
    unknown = sorted(set(options.checks) - set(CHECKS))
    if unknown:
        arguments.error(f"there is no check {', '.join(unknown)}, only {', '.join(CHECKS)}")
    from benchmarks.__main__ import machine
    from benchmarks.server_process import scratch

    results: dict[str, Any] = {"seed": options.seed, "machine": machine()}
    for name in options.checks or CHECKS:
        print(f"== {name}", flush=True)
        started = time.monotonic()
        with scratch() as folder:
            results[name] = {**RUNS[name](options, folder), "seconds": round(time.monotonic() - started)}
        print(json.dumps(results[name], indent=1, ensure_ascii=False), flush=True)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(json.dumps(results))
    sys.exit(any(isinstance(result, dict) and result.get("problems") for result in results.values()))


if __name__ == "__main__":
    main()
