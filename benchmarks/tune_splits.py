"""How often `tune`'s recommendations break their budget: random halves of units, one to tune on, the other to count in.

Each split deals the clusters of labelled texts at random into two halves. What `semcache tune` recommends from one half
is played over the other, laid out in the same way. A recommendation breaks its budget if more than the budget of the
hits served there are wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measurements import Measurement, report
from benchmarks.shared_data import folder
from semcache.decision import Decider, Reading
from semcache.embedding import open_embedder
from semcache.evaluation.labels.pairs import BACKGROUND, LabelledPair, NamedTexts
from semcache.evaluation.statistics.bounds import upper_bound
from semcache.evaluation.tune.background import shipped_background
from semcache.evaluation.tune.choosing import OTHER_BUDGETS, ThresholdChoice, WrongBudget, choose_by, evidence_of
from semcache.evaluation.tune.comparing import ComparedPair, Relation
from semcache.evaluation.tune.curves import Mix
from semcache.evaluation.tune.folds import cross_validate, withheld
from semcache.evaluation.tune.pair_scores import ScoredPairs, ScoredRequests, score_requests
from semcache.evaluation.tune.traffic import (
    BEFORE_ALL,
    NEVER,
    ORDERS,
    StreamTexts,
    earlier_candidates,
    nearest_rows,
    random_places,
    read_stream,
    requests_of,
)
from semcache.evaluation.tune.units import Units
from semcache.model import is_vetoed
from semcache.settings import DecisionSettings, EmbeddingSettings, load_settings

BUDGETS = (0.01, 0.02, 0.05, 0.1)
_PROGRESS = 20
"""Splits after which the figures so far are printed."""
_PAIR = ComparedPair(LabelledPair("", (), (), same=False, kind=""), Relation.COMPARED, "", "")
"""Stands for each pair: what is counted here doesn't depend on texts."""
GUARDED, BARE = "guards", "cosine"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one half recommends, and what that serves of the other.

    Attributes:
        budget: the budget.
        threshold: the recommended threshold; None without one.
        hit_ratio: the share of the other half's requests that it serves.
        wrong_ratio: the share of wrong answers among these.
        instead: the smallest budget that is proven where this one isn't; None if none is.
        instead_wrong_ratio: the wrong ratio in the other half at that budget's threshold.
    """

    budget: float
    threshold: float | None = None
    hit_ratio: float = 0.0
    wrong_ratio: float = 0.0
    instead: float | None = None
    instead_wrong_ratio: float = 0.0


class World:
    """Labelled texts and prompts of other traffic, with neighbours and scores that all splits share."""

    def __init__(self, texts: StreamTexts, decision: str) -> None:
        """Find the neighbours of each text once; pairs are scored when a split first needs them."""
        self.texts = [item.text for item in texts.keyed]
        names = {name: number for number, name in enumerate(sorted(set(texts.names) - {BACKGROUND}))}
        self.labels = np.array([names.get(name, -1) for name in texts.names], np.int64)
        self.names = tuple(names)
        self.nearest, self.near = nearest_rows(texts.vectors, self.labels[self.labels >= 0], one_answer=True)
        self._vectors = texts.vectors
        self._decider = Decider(DecisionSettings()) if decision == GUARDED else None
        self._readings: dict[int, Reading] = {}
        self._scores: dict[int, float] = {}

    def part(self, labels: Sequence[int]) -> tuple[ScoredRequests, Units]:
        """Return the requests of some clusters, laid out as `lay_out` does, and their units."""
        rows = np.flatnonzero(np.isin(self.labels, labels))
        places = np.full((ORDERS, len(self.texts)), NEVER)
        places[:, self.labels < 0] = BEFORE_ALL
        places[:, rows] = random_places(len(rows))
        k = DecisionSettings().k
        candidates = earlier_candidates(self.nearest[rows], self.near[rows], rows, places, k).reshape(-1, k)
        distinct, requests = requests_of(candidates, np.tile(rows, ORDERS), len(self.texts))
        asked, stored = self.labels[distinct // len(self.texts)], self.labels[distinct % len(self.texts)]
        scores = np.array([self._score(key) for key in distinct.tolist()])
        pairs = ScoredPairs((_PAIR,) * len(distinct), scores, asked == stored, ((),) * len(distinct))
        scored = score_requests(pairs, requests)
        order, asked, stored = np.sort(labels), asked[scored.numbers], stored[scored.numbers]
        stored_units = np.where(stored >= 0, np.searchsorted(order, stored), -1)
        return scored, Units(np.searchsorted(order, asked), stored_units, len(labels), "clusters")

    def _score(self, key: int) -> float:
        """Return the cosine with the guards' adjustments; minus infinity for a vetoed pair. Compare each pair once."""
        score = self._scores.get(key)
        if score is None:
            asked, stored = divmod(key, len(self.texts))
            score = float(self._vectors[asked] @ self._vectors[stored])
            if self._decider is not None:
                readings = self._reading(asked), self._reading(stored)
                score, verdicts = self._decider.compare_readings(*readings, score)
                if is_vetoed(verdicts):
                    score = -np.inf
            self._scores[key] = score
        return score

    def _reading(self, number: int) -> Reading:
        if number not in self._readings:
            assert self._decider is not None
            self._readings[number] = Reading(self._decider.features(self.texts[number]))
        return self._readings[number]


def main() -> None:
    """Run the splits and print, for each budget, how many recommendations break it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--seed", type=int, default=2026, help="of the splits")
    parser.add_argument("--labels", type=Path, help="clusters of texts; without it, Banking77's")
    parser.add_argument("--decision", choices=(GUARDED, BARE), default=GUARDED)
    options = parser.parse_args()
    labels = options.labels or _banking()
    if labels is None:
        sys.exit("Banking77's questions aren't here: set SEMCACHE_SHARED_DATA to the shared data, or name --labels.")
    started = time.perf_counter()
    named = read_names(labels)
    texts = asyncio.run(_read(named))
    outcomes = run_splits(texts, options.splits, options.seed, BUDGETS, options.decision)
    measurements, details = summarise(outcomes, options.splits)
    took = f"{time.perf_counter() - started:.0f} s"
    note = f"{labels.name}, {options.decision}: {options.splits} splits with seed {options.seed}, {took}"
    report("tune_splits", measurements, notes=[note], details=details)


def read_names(path: Path) -> NamedTexts:
    """Return the texts of a file of clusters; those of intents count as clusters here."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    texts = tuple((str(row.get("cluster") or row["intent"]), row["text"].strip()) for row in rows)
    return NamedTexts("cluster", tuple((name, text) for name, text in texts if name != "oos"))


def run_splits(
    texts: StreamTexts, splits: int, seed: int, budgets: Sequence[float], decision: str = GUARDED
) -> list[Outcome]:
    """Return the outcome of each budget in each split."""
    chance = random.Random(f"tune/{seed}")
    world = World(texts, decision)
    labels = list(range(len(world.names)))
    outcomes = []
    for number in range(splits):
        if number % _PROGRESS == 0 and number:
            print(f"{number} splits: {summarise(outcomes, number)[1]}", file=sys.stderr, flush=True)
        chance.shuffle(labels)
        half = len(labels) // 2
        (own, units), (other, _) = (world.part(part) for part in (labels[:half], labels[half:]))
        evidence = evidence_of(own, units, Mix())
        for limit in budgets:
            budget = WrongBudget(limit)
            choice = choose_by(evidence, units, budget)
            if choice.proven is not None:
                choice = withheld(choice, cross_validate(own, units, budget, Mix()))
            outcomes.append(_outcome(limit, choice, other))
    return outcomes


def summarise(outcomes: Sequence[Outcome], splits: int) -> tuple[list[Measurement], dict[str, object]]:
    """Return the share of recommendations that break each budget, and all figures for the JSON."""
    measurements, details = [], {}
    for limit in dict.fromkeys(outcome.budget for outcome in outcomes):
        of_budget = [outcome for outcome in outcomes if outcome.budget == limit]
        recommended = [outcome for outcome in of_budget if outcome.threshold is not None]
        broke = sum(outcome.wrong_ratio > limit for outcome in recommended)
        instead = [outcome for outcome in of_budget if outcome.instead is not None]
        name = f"≤ {100 * limit:g} % wrong per hit"
        measurements.append(
            Measurement(f"{name}: splits with a recommendation", "%", (100 * len(recommended) / splits,))
        )
        if recommended:
            measurements += [
                Measurement(
                    f"{name}: recommendations that break it", "%", (100 * broke / len(recommended),), at_most=5.0
                ),
                Measurement(
                    f"{name}: hit ratio in the other half",
                    "%",
                    tuple(100 * outcome.hit_ratio for outcome in recommended),
                ),
                Measurement(f"{name}: threshold", "", tuple(outcome.threshold or 0.0 for outcome in recommended)),
            ]
        details[f"{limit:g}"] = {
            "recommended": len(recommended),
            "broke": broke,
            "broke_at_most_by_chance": float(upper_bound(broke, max(1, len(recommended)))) if recommended else None,
            "instead": len(instead),
            "instead_broke": sum(outcome.instead_wrong_ratio > (outcome.instead or 0.0) for outcome in instead),
            "instead_budgets": {f"{at:g}": sum(outcome.instead == at for outcome in instead) for at in OTHER_BUDGETS},
        }
    return measurements, details


def _outcome(limit: float, choice: ThresholdChoice, other: ScoredRequests) -> Outcome:
    if choice.proven is not None:
        hit_ratio, wrong_ratio = _served(other, choice.proven.threshold)
        return Outcome(limit, choice.proven.threshold, hit_ratio, wrong_ratio)
    shortfall = choice.shortfall
    if shortfall is None or shortfall.at is None:
        return Outcome(limit)
    return Outcome(limit, instead=shortfall.limit, instead_wrong_ratio=_served(other, shortfall.at.threshold)[1])


def _served(scored: ScoredRequests, threshold: float) -> tuple[float, float]:
    hit = scored.served(threshold) & scored.compared()
    served, wrong = float(scored.weights[hit].sum()), float(scored.weights[hit & ~scored.same].sum())
    return served / scored.requests, wrong / served if served else 0.0


async def _read(named: NamedTexts) -> StreamTexts:
    embedder = await asyncio.to_thread(open_embedder, EmbeddingSettings())
    try:
        return await read_stream(named, shipped_background(), embedder, load_settings(), lambda _: None)
    finally:
        await embedder.close()


def _banking() -> Path | None:
    data = folder()
    return None if data is None else data / "clusters/banking77_dev.jsonl"


if __name__ == "__main__":
    main()
