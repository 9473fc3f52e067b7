"""Questions that follow one template, by the real model: a new one isn't served a sibling's answer, a repeat is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.prompts import rewordings, short_prompts
from benchmarks.siblings import served_places
from semcache.decision import Decider
from semcache.embedding import open_embedder
from semcache.settings import EmbeddingSettings, Settings

pytestmark = pytest.mark.model
STORED, ASKED = 1_500, 300
NEW, MOST_SERVED = -1, 0.02
SETTINGS = Settings()


async def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    embedder = open_embedder(EmbeddingSettings(max_queue=len(texts)))
    try:
        return await embedder.embed(texts)
    finally:
        await embedder.close()


@pytest.fixture(scope="module")
def served() -> list[tuple[int, int | None]]:
    """For each question its own place among the stored ones, or NEW, and the place of the entry that is served."""
    texts = short_prompts(STORED + ASKED)
    stored = texts[:STORED]
    repeats = rewordings(stored, ASKED, seed=1)
    asked = [(NEW, text) for text in texts[STORED:]] + repeats
    vectors = asyncio.run(embed([*stored, *(text for _, text in asked)]))
    decider, threshold = Decider(SETTINGS.decision), SETTINGS.decision.threshold
    texts_asked = [text for _, text in asked]
    places = served_places(decider, threshold, stored, texts_asked, vectors[STORED:] @ vectors[:STORED].T)
    return [(own, place) for (own, _), place in zip(asked, places, strict=True)]


def test_a_new_question_is_hardly_ever_served_its_siblings_answer(served: list[tuple[int, int | None]]) -> None:
    new = [place for own, place in served if own == NEW]
    assert len(new) == ASKED
    assert sum(place is not None for place in new) / ASKED <= MOST_SERVED


def test_a_repeat_is_served_its_own_answer_among_its_siblings(served: list[tuple[int, int | None]]) -> None:
    repeats = [(own, place) for own, place in served if own != NEW]
    assert all(place in {own, None} for own, place in repeats)
    assert sum(place == own for own, place in repeats) / len(repeats) >= 0.95
