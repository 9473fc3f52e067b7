"""Measure the guards: their time for one candidate, and on labelled pairs their vetoes and the ranking by score."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.hit_rate.prompts import lines
from benchmarks.measurements import Measurement, report
from benchmarks.prompts import short_prompts
from benchmarks.ranking import TRAP_SHARES, Change, compare_rankings
from benchmarks.recall import embed
from benchmarks.shared_data import folder
from benchmarks.siblings import served_places
from benchmarks.worker import ROOT
from semcache.decision import Decider, Reading
from semcache.evaluation.labels.files import load_pairs
from semcache.evaluation.tune.pair_scores import SLACK
from semcache.model import Effect
from semcache.settings import DecisionSettings

SHARED = {
    "fow_cache": "fow_cache/pairs.jsonl",
    "banking77": "clusters/banking77_dev.jsonl",
    "paws_wiki": "pairs/paws_wiki_dev.jsonl",
    "semantoneg": "pairs_sa/semantoneg.jsonl",
}
OWN = ROOT / "tests/quality/pairs.jsonl"
PROMPTS = ("own", "fow_cache", "banking77")
"""The sets that hold prompts; the others hold statements."""
ROUNDS = 5
TIMED = 1_500
MAX_US, MAX_VETOED = 100.0, 2.0
"""Targets: microseconds for a candidate, and percent of true pairs that one guard vetoes."""
SIBLINGS, NEW_SIBLINGS = 5_000, 1_000
"""Questions of one template that are stored, and others of it that are asked."""
MIN_AUC, MIN_HITS = 0.80, 30.0
"""Targets on fow-cache: the area under the curve, and percent of hits at most 1 % of traps beside."""


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Pairs of single prompts with labels, as columns."""

    name: str
    asked: tuple[str, ...]
    stored: tuple[str, ...]
    same: NDArray[np.bool_]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The shipped guards on one set: cosines, scores (minus infinity for a veto) and the vetoing guards."""

    cosines: NDArray[np.float64]
    scores: NDArray[np.float64]
    vetoes: tuple[tuple[str, ...], ...]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    settings = DecisionSettings()
    decider = Decider(settings)
    data = folder()
    notes = (
        []
        if data
        else ["The shared data is missing (SEMCACHE_SHARED_DATA): only the project's own pairs were measured."]
    )
    sets = list(_sets(data))
    measurements = list(_times(decider, sets))
    details: dict[str, Any] = {}
    for labelled in sets:
        print(f"{labelled.name}: {len(labelled.same):,} pairs", file=sys.stderr, flush=True)
        verdicts = _judge(decider, labelled)
        results = {**_vetoes(labelled, verdicts, settings.guards), **_ranking(labelled, verdicts, settings.threshold)}
        _show(labelled, results)
        details[labelled.name] = results
        measurements += _measurements(labelled.name, results)
    measurements.append(_new_siblings(decider, settings.threshold))
    report("guards", measurements, notes=notes, details=details)


def _sets(data: Path | None) -> Iterator[LabelledSet]:
    paths = {"own": OWN} | ({name: data / path for name, path in SHARED.items()} if data else {})
    for name, path in paths.items():
        pairs = load_pairs(path)
        if name == "own":
            english = {row["id"] for row in lines(path) if row["lang"] == "en"}
            pairs = tuple(pair for pair in pairs if pair.pair_id in english)
        yield LabelledSet(
            name,
            tuple(pair.asked[0]["content"] for pair in pairs),
            tuple(pair.stored[0]["content"] for pair in pairs),
            np.array([pair.same for pair in pairs]),
            tuple(pair.sampled_with for pair in pairs),
        )


def _times(decider: Decider, sets: Sequence[LabelledSet]) -> Iterator[Measurement]:
    """Measure microseconds over pairs of prompts. The entry's reading comes from stored features, as in the server."""
    timed = [
        texts
        for labelled in sets
        if labelled.name in PROMPTS
        for texts in list(zip(labelled.asked, labelled.stored, strict=True))[: TIMED // len(PROMPTS)]
    ]
    reads, compares = [], []
    for _ in range(ROUNDS):
        reading, comparing = [], []
        for asked, stored in timed:
            started = time.perf_counter()
            query = decider.read(asked)
            was_read = time.perf_counter()
            features = decider.features(stored)
            before = time.perf_counter()
            decider.compare_readings(query, Reading(features), 0.9)
            comparing.append(1e6 * (time.perf_counter() - before))
            reading.append(1e6 * (was_read - started))
        reads.append(reading)
        compares.append(comparing)
    median = statistics.median
    yield Measurement("all guards, one candidate: median", "µs", tuple(map(median, compares)), at_most=MAX_US)
    yield Measurement("all guards, one candidate: 95th percentile", "µs", tuple(map(_p95, compares)))
    yield Measurement("all guards, reading of one text: median", "µs", tuple(map(median, reads)))
    yield Measurement("all guards, reading of one text: 95th percentile", "µs", tuple(map(_p95, reads)))


def _new_siblings(decider: Decider, threshold: float) -> Measurement:
    """Measure how many new questions are served another's answer where half of their template is stored."""
    texts = short_prompts(SIBLINGS + NEW_SIBLINGS)
    vectors = asyncio.run(embed(texts, Console(stderr=True)))
    stored, asked = texts[:SIBLINGS], texts[SIBLINGS:]
    places = served_places(decider, threshold, stored, asked, vectors[SIBLINGS:] @ vectors[:SIBLINGS].T)
    served = sum(place is not None for place in places)
    share = (100 * served / NEW_SIBLINGS,)
    return Measurement("template: new questions served another's answer", "%", share, at_most=MAX_VETOED)


def _p95(values: Sequence[float]) -> float:
    return float(np.percentile(values, 95))


def _judge(decider: Decider, labelled: LabelledSet) -> Verdicts:
    texts = list(dict.fromkeys((*labelled.asked, *labelled.stored)))
    vectors = asyncio.run(embed(texts, Console(stderr=True)))
    places = {text: number for number, text in enumerate(texts)}
    readings = {text: decider.read(text) for text in texts}
    cosines, scores, vetoes = [], [], []
    for asked, stored in zip(labelled.asked, labelled.stored, strict=True):
        cosine = float(vectors[places[asked]] @ vectors[places[stored]])
        score, verdicts = decider.compare_readings(readings[asked], readings[stored], cosine)
        vetoing = tuple(verdict.guard for verdict in verdicts if verdict.effect is Effect.VETO)
        cosines.append(cosine)
        scores.append(-np.inf if vetoing else score)
        vetoes.append(vetoing)
    return Verdicts(np.array(cosines), np.array(scores), tuple(vetoes))


def _vetoes(labelled: LabelledSet, verdicts: Verdicts, guards: Sequence[str]) -> dict[str, Any]:
    """Return for each guard, and for any guard, the percent of hits and of traps vetoed and the vetoes' precision."""
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for same, vetoing in zip(labelled.same.tolist(), verdicts.vetoes, strict=True):
        counts[same].update(vetoing)
        if vetoing:
            counts[same]["any"] += 1
    hits, traps = int(labelled.same.sum()), int((~labelled.same).sum())
    return {
        "hits": hits,
        "traps": traps,
        "vetoes": {
            guard: {
                "of_hits": 100 * counts[True][guard] / hits,
                "of_traps": 100 * counts[False][guard] / traps,
                "precision": 100 * counts[False][guard] / (counts[True][guard] + counts[False][guard]),
            }
            for guard in (*guards, "any")
            if counts[True][guard] + counts[False][guard]
        },
    }


def _ranking(labelled: LabelledSet, verdicts: Verdicts, threshold: float) -> dict[str, Any]:
    changes = compare_rankings(verdicts.scores, verdicts.cosines, labelled.same, labelled.groups)
    names = ("auc", *(f"hits_at_{share:g}" for share in TRAP_SHARES))
    return {
        **{name: _as_json(change) for name, change in zip(names, changes, strict=True)},
        "shipped": {
            name: {
                which: 100 * float((scores[chosen] >= threshold - SLACK).mean())
                for which, chosen in (("hits", labelled.same), ("traps", ~labelled.same))
            }
            for name, scores in (("guarded", verdicts.scores), ("cosine", verdicts.cosines))
        },
    }


def _as_json(change: Change) -> dict[str, Any]:
    return {"guarded": change.value, "cosine": change.other, "difference_interval": change.interval}


def _measurements(name: str, results: dict[str, Any]) -> Iterator[Measurement]:
    by_guard = [results["vetoes"][guard]["of_hits"] for guard in results["vetoes"] if guard != "any"]
    yield Measurement(f"{name}: hits vetoed by the worst guard", "%", (max(by_guard, default=0.0),), at_most=MAX_VETOED)
    judged = name == "fow_cache"
    yield Measurement(f"{name}: AUC", "", (results["auc"]["guarded"],), at_least=MIN_AUC if judged else None)
    served = 100 * results["hits_at_0.01"]["guarded"]
    yield Measurement(f"{name}: hits at ≤ 1 % of traps", "%", (served,), at_least=MIN_HITS if judged else None)


def _show(labelled: LabelledSet, results: dict[str, Any]) -> None:
    print(f"\n{labelled.name}: {results['hits']:,} hits, {results['traps']:,} traps")
    print(f"  {'guard':<14}{'of hits':>9}{'of traps':>10}{'precision':>11}")
    for guard, veto in results["vetoes"].items():
        print(f"  {guard:<14}{veto['of_hits']:>8.2f}%{veto['of_traps']:>9.2f}%{veto['precision']:>10.1f}%")
    print(f"  {'':<22}{'guarded':>8}{'cosine':>9}{'difference, 95 %':>22}")
    for name in ("auc", *(f"hits_at_{share:g}" for share in TRAP_SHARES)):
        change = results[name]
        low, high = change["difference_interval"] or (float("nan"), float("nan"))
        print(f"  {name:<22}{change['guarded']:>8.3f}{change['cosine']:>9.3f}{f'{low:+.3f} … {high:+.3f}':>22}")
    for name, served in results["shipped"].items():
        print(f"  as shipped, {name}: {served['hits']:.2f} % of hits and {served['traps']:.2f} % of traps served")


if __name__ == "__main__":
    main()
