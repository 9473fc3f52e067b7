"""A server that starts with another embedder: exact hits go on, and rewordings are found again in the background."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from semcache.store import check
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.serving import Served, serving
from semcache.v1 import semcache_pb2 as pb
from tests.integration.calls import complete
from tests.support.stored import store_settings

QUESTIONS = [
    "How do I reset my password please?",
    "Which wine goes well with grilled salmon please?",
    "Explain photosynthesis to a young child please?",
    "What makes concrete harden under water please?",
    "Name a famous painter from Spain please?",
]
SETTINGS = {"decision": {"threshold": 0.6}}


def reworded(question: str) -> str:
    return question.removesuffix(" please?") + "?"


async def moved(served: Served, inert: int = 0) -> None:
    """Wait until so many inert entries are left."""
    store = served.application.composition.adapters.store
    for _ in range(2_000):  # Bounded, so that what never moves fails instead of hanging.
        if store.stats().inert == inert:
            return
        await asyncio.sleep(0.005)
    pytest.fail(f"{store.stats().inert} entries are inert, not {inert}")


async def embedding(embedder: HashingEmbedder) -> None:
    """Wait until it has been asked for vectors."""
    for _ in range(2_000):
        if embedder.batches:
            return
        await asyncio.sleep(0.005)
    pytest.fail("nothing was embedded")


async def fill(path: Path, embedder: HashingEmbedder) -> dict[str, str]:
    """Store an answer to each question; return the entries' ids."""
    async with serving(SETTINGS, embedder=embedder, path=path) as served:
        answers = {question: await complete(served, question, tags=("faq",)) for question in QUESTIONS}
    return {question: answer.outcome.entry_id for question, answer in answers.items()}


@pytest.mark.parametrize("fields", [{"dimension": 256}, {"adapter": "tuned"}])
async def test_after_another_model_or_adapter_exact_hits_go_on_and_rewordings_are_found_again(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    path = tmp_path / "store"
    ids = await fill(path, HashingEmbedder())
    async with serving(SETTINGS, embedder=HashingEmbedder(**fields), path=path) as served:
        store = served.application.composition.adapters.store
        for question in QUESTIONS:
            assert (await complete(served, question)).outcome.status == pb.STATUS_EXACT_HIT
        await asyncio.sleep(0.05)
        assert store.stats().inert == len(QUESTIONS)  # exact hits ask for no vector

        # The first request that would be compared is a miss, and lets its partition be embedded anew.
        first = await complete(served, "Where is the nearest station, and when does it open?")
        assert first.outcome.status == pb.STATUS_MISS
        await moved(served)
        for question in QUESTIONS:
            hit = await complete(served, reworded(question))
            assert hit.outcome.status == pb.STATUS_SEMANTIC_HIT
            assert hit.outcome.entry_id == ids[question]
            assert (await complete(served, question)).outcome.status == pb.STATUS_EXACT_HIT
        listed = [entry async for entry in served.stub.ListEntries(pb.ListEntriesRequest(tag="faq"))]
        assert len(listed) == len(QUESTIONS)
        assert len(served.upstream.calls) == 1

        port = served.application.metrics_port
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read())
        assert b"semcache_inert_entries 0.0" in page
        assert b"semcache_reembedded_entries_total 5.0" in page
    report = check(store_settings(path))
    assert report.clean, report.problems


async def test_a_partition_that_nobody_asks_for_stays_and_another_is_moved(tmp_path) -> None:
    path = tmp_path / "store"
    await fill(path, HashingEmbedder(dimension=256))
    async with serving(SETTINGS, embedder=HashingEmbedder(dimension=256), path=path) as served:
        await complete(served, QUESTIONS[0], namespace="apart")
    async with serving(SETTINGS, embedder=HashingEmbedder(dimension=384), path=path) as served:
        await complete(served, "Where is the nearest station?", namespace="apart")
        await moved(served, inert=len(QUESTIONS))
        hit = await complete(served, reworded(QUESTIONS[0]), namespace="apart")
        assert hit.outcome.status == pb.STATUS_SEMANTIC_HIT


async def test_after_a_return_to_the_former_model_all_is_found_again(tmp_path) -> None:
    path = tmp_path / "store"
    ids = await fill(path, HashingEmbedder(dimension=256))
    for start, dimension in enumerate((384, 256, 384)):
        async with serving(SETTINGS, embedder=HashingEmbedder(dimension=dimension), path=path) as served:
            await complete(served, f"Where is station {start}?")
            await moved(served)
            hit = await complete(served, reworded(QUESTIONS[1]))
            assert (hit.outcome.status, hit.outcome.entry_id) == (pb.STATUS_SEMANTIC_HIT, ids[QUESTIONS[1]])
    report = check(store_settings(path))
    assert report.clean, report.problems


async def test_what_is_invalidated_meanwhile_is_gone(tmp_path) -> None:
    path = tmp_path / "store"
    await fill(path, HashingEmbedder(dimension=256))
    embedder = HashingEmbedder(dimension=384)
    async with serving(SETTINGS, embedder=embedder, path=path) as served:
        gate = embedder.hang_next()
        waiting = asyncio.create_task(complete(served, "Where is the nearest station?"))
        await embedding(embedder)
        invalidated = await served.stub.Invalidate(pb.InvalidateRequest(tags=["faq"], apply=True))
        assert invalidated.removed_count == len(QUESTIONS)
        gate.set()
        await waiting
        await moved(served)
        assert (await complete(served, QUESTIONS[0])).outcome.status != pb.STATUS_EXACT_HIT
    assert check(store_settings(path)).clean


async def test_explain_moves_nothing(tmp_path) -> None:
    path = tmp_path / "store"
    await fill(path, HashingEmbedder(dimension=256))
    async with serving(SETTINGS, embedder=HashingEmbedder(dimension=384), path=path) as served:
        prompt = pb.Prompt(openai_json=b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Where is it?"}]}')
        await served.stub.Explain(pb.ExplainRequest(prompt=prompt))
        await asyncio.sleep(0.05)
        assert served.application.composition.adapters.store.stats().inert == len(QUESTIONS)
