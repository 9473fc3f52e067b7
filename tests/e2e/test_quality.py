"""The gate on the decision's quality: the real model and the shipped guards on labelled sets, our own and others."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from semcache.decision import Decider
from semcache.embedding import open_embedder
from semcache.evaluation.labels.files import load_pairs
from semcache.evaluation.tune.comparing import Compared, Relation, compare_pairs
from semcache.model import Effect
from semcache.settings import EmbeddingSettings, load_settings
from tests.e2e.test_real_pairs import rows, served

pytestmark = pytest.mark.model
OWN = Path(__file__).parent.parent / "quality"
SETTINGS = load_settings(None, {"cacheability": {"time_sensitive": (), "personal": ()}})


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair's label, its score (−1 where a guard vetoed) and who vetoed."""

    same: bool
    kind: str
    similarity: float
    score: float
    vetoes: tuple[str, ...]


MOST_PAIRS = 800
"""Enough for shares of 2 %; more takes minutes of embedding."""
REFUSED = {"number": 0.9, "date": 0.9, "identifier": 1.0, "code": 1.0, "antonym": 0.9, "negation": 0.9, "unit": 0.7}
"""How many of our own set's traps of a plain kind a guard refuses by name, at least."""


async def judge(path: Path, embedding: EmbeddingSettings | None = None) -> list[Judged]:
    pairs = load_pairs(path)
    pairs = tuple(random.Random(1).sample(pairs, min(MOST_PAIRS, len(pairs))))
    embedder = open_embedder(embedding or EmbeddingSettings())
    try:
        compared = await compare_pairs(pairs, embedder, SETTINGS, lambda count: None)
    finally:
        await embedder.close()
    decider = Decider(SETTINGS.decision)
    return [_judge(decider, one) for one in compared if one.relation is Relation.COMPARED]


def _judge(decider: Decider, one: Compared) -> Judged:
    assert one.similarity is not None
    score, verdicts = decider.compare(one.asked, one.stored, one.similarity)
    vetoes = tuple(verdict.guard for verdict in verdicts if verdict.effect is Effect.VETO)
    return Judged(one.pair.same, one.pair.kind, one.similarity, -1.0 if vetoes else score, vetoes)


def share_served(judged: list[Judged], *, same: bool, threshold: float = SETTINGS.decision.threshold) -> float:
    scores = [one.score for one in judged if one.same is same]
    return sum(score >= threshold for score in scores) / len(scores)


def auc(judged: list[Judged]) -> float:
    """How often a pair with one answer ranks above one with two; ties count half."""
    hits = [one.score for one in judged if one.same]
    traps = [one.score for one in judged if not one.same]
    return sum((hit > trap) + 0.5 * (hit == trap) for hit in hits for trap in traps) / (len(hits) * len(traps))


def dearest_veto(judged: list[Judged]) -> tuple[str, float]:
    """The guard that vetoes most true pairs, and their share."""
    true = [one for one in judged if one.same]
    counts = Counter(guard for one in true for guard in one.vetoes)
    guard, count = (counts.most_common(1) or [("none", 0)])[0]
    return guard, count / len(true)


async def test_the_projects_own_pairs() -> None:
    judged = await judge(OWN / "pairs.jsonl")
    assert len(judged) > 350
    assert share_served(judged, same=True) > 0.25
    assert share_served(judged, same=False) <= 0.01
    assert auc(judged) > 0.85
    assert dearest_veto(judged)[1] <= 0.02
    for kind, least in REFUSED.items():
        vetoed = [bool(one.vetoes) for one in judged if one.kind == kind]
        assert sum(vetoed) / len(vetoed) >= least, kind


async def test_the_projects_own_conversations(tmp_path: Path) -> None:
    traps = [pair for pair in rows(OWN / "conversations.jsonl") if not pair["same_answer"]]
    assert sum(await served(tmp_path, traps)) == 0


async def test_fow_cache(shared_data: Path) -> None:
    judged = await judge(shared_data / "fow_cache" / "pairs.jsonl")
    assert auc(judged) >= 0.80  # The cosine's is .64.
    assert share_served(judged, same=True) >= 0.30  # The cosine serves 28 %,
    assert share_served(judged, same=False) <= 0.01  # and 4.3 % of the traps.
    assert dearest_veto(judged)[1] <= 0.02


@pytest.mark.parametrize("name", ["pairs_sa/semantoneg.jsonl", "clusters/banking77_dev.jsonl"])
async def test_a_veto_is_precise(shared_data: Path, name: str) -> None:
    guard, share = dearest_veto(await judge(shared_data / name))
    assert share <= 0.02, guard
