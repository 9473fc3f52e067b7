"""What int8 costs: each text's vector against float32's, and the decisions on labelled pairs, our own and others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from semcache.embedding import open_embedder
from semcache.settings import EmbeddingSettings
from tests.e2e.test_quality import OWN, SETTINGS, scored_pairs
from tests.support.int8 import require_int8

pytestmark = pytest.mark.model
THRESHOLD = SETTINGS.decision.threshold
MOST_FLIPPED = 0.005
"""The share of pairs for which int8 may decide otherwise than float32."""


@pytest.fixture(autouse=True)
def _int8() -> None:
    require_int8()


def on_cpu(precision: str) -> EmbeddingSettings:
    return EmbeddingSettings(device="cpu", precision=precision)


async def vectors(precision: str, texts: list[str], *, together: int) -> np.ndarray:
    embedder = open_embedder(on_cpu(precision))
    try:
        some = [texts[start : start + together] for start in range(0, len(texts), together)]
        return np.concatenate([await embedder.embed(part) for part in some])
    finally:
        await embedder.close()


def texts_of(path: Path) -> list[str]:
    pairs = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return sorted({pair[side] for pair in pairs for side in "ab"})


async def test_every_text_of_the_projects_own_pairs_keeps_its_vector_alone_and_in_company() -> None:
    texts = texts_of(OWN / "pairs.jsonl")
    exact = await vectors("fp32", texts, together=200)
    company = await vectors("int8", texts, together=200)
    alone = await vectors("int8", texts[::3], together=1)
    kept = (exact * company).sum(axis=1)
    assert kept.min() >= 0.998
    assert kept.mean() >= 0.9995
    assert (exact[::3] * alone).sum(axis=1).min() >= 0.998
    assert (alone * company[::3]).sum(axis=1).min() >= 0.999


async def assert_decided_alike(path: Path) -> None:
    exact, rounded = await scored_pairs(path, on_cpu("fp32")), await scored_pairs(path, on_cpu("int8"))
    assert len(exact) == len(rounded) > 350
    for score in ("similarity", "score"):
        sides = [[getattr(one, score) >= THRESHOLD for one in scored] for scored in (exact, rounded)]
        assert sum(one != other for one, other in zip(*sides, strict=True)) <= MOST_FLIPPED * len(exact), score
    assert [one.vetoes for one in exact] == [one.vetoes for one in rounded]


async def test_decisions_on_the_projects_own_pairs() -> None:
    await assert_decided_alike(OWN / "pairs.jsonl")


async def test_decisions_on_fow_cache(shared_data: Path) -> None:
    await assert_decided_alike(shared_data / "fow_cache" / "pairs.jsonl")
