"""Measure hit ratio and wrong hits of semcache, a bare cosine, GPTCache's decision and vCache's method, on streams.

Settings are chosen on one part of the data and reported on the other; benchmarks/README.md describes both.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.hit_rate import split, tables
from benchmarks.hit_rate.prompts import Corpus, Prompt, own_corpora, shared_corpora, without_traps
from benchmarks.hit_rate.running import (
    AS_SHIPPED,
    COSINE,
    SEMCACHE,
    SHIPPED,
    Chosen,
    Played,
    choose,
    play_all,
    play_sweeps,
)
from benchmarks.hit_rate.scores import PER_HIT
from benchmarks.hit_rate.streams import Stream, low_repeat, zipf
from benchmarks.hit_rate.world import World
from benchmarks.measurements import Measurement, report
from benchmarks.recall import embed
from benchmarks.shared_data import folder
from benchmarks.worker import ROOT
from semcache.decision import Decider
from semcache.settings import DecisionSettings

EXPONENTS = (0.6, 0.9, 1.1)
LOW_REPEATS = 0.04
TUNING_SHUFFLES = 2
SEED = 7
ABOVE = 1.001
"""As a target: above 1, as two systems that serve equal texts alone have a ratio of 1."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4_000, help="of a Zipf stream")
    parser.add_argument("--shuffles", type=int, default=5, help="orders beside the first")
    parser.add_argument("--examples", type=int, default=0, help="wrong hits of semcache as shipped to show, a stream")
    parser.add_argument("--traps", choices=("with", "without"), default="with", help="sides of fow-cache's traps")
    options = parser.parse_args()
    started = time.perf_counter()
    notes = []
    data = folder()
    if data is None:
        notes.append(
            "The shared data is not here (SEMCACHE_SHARED_DATA): Banking77, CLINC150, Arena-Hard, TREC CAsT, Dolly and "
            "fow-cache are skipped; the project's own pairs, tests/quality/pairs.jsonl, are played instead."
        )
        print(notes[0])
        corpora = own_corpora(ROOT / "tests/quality/pairs.jsonl")
        requests = min(options.requests, 1_000)
    else:
        corpora, requests = shared_corpora(data, split.read()), options.requests
    if options.traps == "without":
        corpora = {part: without_traps(corpus) for part, corpus in corpora.items()}
        notes.append("The streams hold no side of an edited trap.")
    streams = {part: _streams(corpus, requests) for part, corpus in corpora.items()}
    worlds = _worlds(streams)
    embedded = time.perf_counter()
    _say(f"{embedded - started:.0f} s for reading and embedding")

    chosen: dict[str, Chosen] = {}
    for stream in streams["tuning"]:
        chosen[stream.name] = choose(play_sweeps(worlds["tuning"], corpora["tuning"], stream, TUNING_SHUFFLES))
        _say(f"{time.perf_counter() - embedded:.0f} s: tuned on {stream.name}")
    measurements: list[Measurement] = []
    details: dict[str, Any] = {}
    for stream in streams["reported"]:
        played = play_all(worlds["reported"], corpora["reported"], stream, options.shuffles)
        best = choose(played)
        rows = [row.as_json(played) for row in tables.rows(played, chosen[stream.name], best)]
        tables.show(played, rows)
        measurements += _measurements(played, chosen[stream.name], best)
        details[stream.name] = {
            "requests": len(stream.requests),
            "repeats": round(stream.repeats, 4),
            "areas": tables.areas(played),
            "rows": rows,
        }
        _show_examples(played, options.examples)
        _say(f"{time.perf_counter() - embedded:.0f} s: played {stream.name}")
    notes.append(
        f"{time.perf_counter() - embedded:.0f} s after embedding; "
        f"{sum(world.pairs_compared for world in worlds.values()):,} pairs compared by the guards"
    )
    report("hit_rate", measurements, notes=notes, details=details)


def _streams(corpus: Corpus, requests: int) -> list[Stream]:
    skewed = [zipf(corpus, exponent, requests, SEED) for exponent in EXPONENTS]
    return [*skewed, low_repeat(corpus, LOW_REPEATS, SEED)]


def _worlds(streams: dict[str, list[Stream]]) -> dict[str, World]:
    """Make one world for each part, of all prompts that its streams hold."""
    prompts: dict[str, list[Prompt]] = {
        part: list(dict.fromkeys(request for stream in of_part for request in stream.requests))
        for part, of_part in streams.items()
    }
    texts = [prompt.text for of_part in prompts.values() for prompt in of_part]
    _say(f"{len(texts):,} texts to embed, unless they are kept")
    vectors = asyncio.run(embed(texts, Console(stderr=True)))
    settings = DecisionSettings()
    worlds = {}
    for part, of_part in prompts.items():
        own: NDArray[np.float32] = vectors[: len(of_part)]
        vectors = vectors[len(of_part) :]
        worlds[part] = World(of_part, own, Decider(settings))
    return worlds


def _measurements(played: Played, chosen: Chosen, best: Chosen) -> list[Measurement]:
    name, shipped = played.stream.name, played.runs[AS_SHIPPED, SHIPPED]

    def compared(title: str, settings: Chosen, at_least: float | None = None) -> Measurement:
        ours, bare = (
            [run.tally.hit_ratio for run in played.runs[system, settings[system, PER_HIT, 0.01]]]
            for system in (SEMCACHE, COSINE)
        )
        # A cosine that serves nothing counts as one that serves one request.
        least = 1 / len(played.stream.requests)
        values = tuple(max(a, least) / max(b, least) for a, b in zip(ours, bare, strict=True))
        return Measurement(f"{name}: {title}", "×", values, at_least=at_least)

    # A setting that the other part chose may break the budget here, so a target on it would be unfair.
    return [
        compared("semcache's hits / cosine's, ≤ 1 % wrong per hit, in hindsight", best, ABOVE),
        compared("semcache's hits / cosine's, ≤ 1 % wrong per hit, chosen on the other part", chosen),
        Measurement(f"{name}: hit ratio as shipped", "%", tuple(100 * run.tally.hit_ratio for run in shipped)),
        Measurement(
            f"{name}: wrong per hit as shipped", "%", tuple(100 * run.tally.share_wrong(PER_HIT) for run in shipped)
        ),
    ]


def _show_examples(played: Played, count: int) -> None:
    """Print the wrong hits of semcache as shipped, over all orders, the most frequent first."""
    seen: dict[tuple[int, int], int] = {}
    for run in played.runs[AS_SHIPPED, SHIPPED]:
        for number, got in zip(run.asked, run.served.tolist(), strict=True):
            if got >= 0 and played.world.labels[got] != played.world.labels[number]:
                seen[number, got] = seen.get((number, got), 0) + 1
    for (number, got), times in sorted(seen.items(), key=lambda item: -item[1])[:count]:
        asked, stored = played.world.prompts[number], played.world.prompts[got]
        score = played.world.score(number, got)
        similarity = played.world.similarities[number, got]
        print(f"  {times} × {similarity:.3f} → {score:.3f}  {asked.label}: {asked.text!r}")
        print(f"      {stored.label}: {stored.text!r}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
