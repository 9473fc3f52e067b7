"""What another embedder made is embedded anew: what is wanted, in slices, restartable, and at the callers' leisure."""

import asyncio
import dataclasses
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest
from structlog.testing import capture_logs

from semcache.errors import EmbeddingFailedError, OverloadedError, StoreFullError
from semcache.model import Cacheability, KeyedRequest, Request, Selector, Tier
from semcache.story import reembedding
from semcache.story.reembedding import COMMIT_ENTRIES, MAX_WANTED, SLICE_CHARS, SLICE_TEXTS, Reembedding, pause_s
from semcache.testing.clock import FakeClock
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.store import MemoryStore
from tests.support.stored import digest, entry


def keyed(inert=("old",), **fields) -> KeyedRequest:
    request = KeyedRequest(
        request=Request("acme", b"{}"),
        alias="gpt-4o",
        exact_key=digest("asked"),
        partition=digest("new"),
        older_partitions=(),
        text="asked",
        cacheability=Cacheability(Tier.SEMANTIC, "cacheable"),
        prompt_chars=1,
        output_limit=None,
        include_usage=False,
        inert_partitions=tuple(map(digest, inert)),
    )
    return dataclasses.replace(request, **fields)


class Upgraded:
    """A store whose vectors are another embedder's, and what embeds them anew."""

    def __init__(self):
        self.clock = FakeClock()
        self.embedder = HashingEmbedder(dimension=16)
        self.store = MemoryStore(self.clock, embedder_fingerprint="older model")
        self.reembedding = Reembedding(self.store, self.embedder, self.clock)

    async def fill(self, *names, partition="old", text="What is {}?"):
        for name in names:
            old = np.ones(4, np.float32) / 2
            await self.store.entries.put(entry(name, text=text.format(name), partition=digest(partition)), old)

    def upgrade(self):
        self.store.reopen(self.embedder.fingerprint)

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.reembedding.run())
        yield task
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def settled(self):
        """Waits until nothing is wanted any more."""
        for _ in range(10_000):
            if "of 0 partitions" in repr(self.reembedding):
                return
            await asyncio.sleep(0)
        pytest.fail(f"it isn't done: {self.reembedding}")

    def in_partition(self, name):
        ids, vectors = self.store.vectors.load(digest(name))
        return dict(zip(ids.tolist(), vectors, strict=True))


@pytest.fixture
async def upgraded():
    return Upgraded()


async def test_a_partition_that_is_asked_for_is_embedded_anew_and_the_task_ends(upgraded):
    await upgraded.fill(*map(str, range(20)))
    upgraded.upgrade()
    async with upgraded.running() as task:
        await upgraded.reembedding.want(keyed())
        await asyncio.wait_for(task, 5)
    moved = upgraded.in_partition("new")
    assert len(moved) == 20
    for entry_id, found in moved.items():
        np.testing.assert_array_equal(found, upgraded.embedder.vector(f"What is {entry_id - 1}?"))
    assert upgraded.in_partition("old") == {}
    assert (upgraded.store.stats().inert, upgraded.store.stats().reembedded) == (0, 20)


async def test_texts_are_embedded_a_few_at_a_time_and_moved_many_in_a_commit(upgraded):
    await upgraded.fill(*map(str, range(COMMIT_ENTRIES)))
    await upgraded.fill("long", text="{} " + "word " * SLICE_CHARS)
    await upgraded.fill("a", "b", "c", text="{}" + "x" * (SLICE_CHARS // 2))
    upgraded.upgrade()
    upgraded.embedder = upgraded.reembedding._embedder = HashingEmbedder(dimension=16, window_words=10_000)
    commits = upgraded.store.stats().commits
    async with upgraded.running():
        await upgraded.reembedding.want(keyed())
        await upgraded.settled()
    sizes = [len(batch) for batch in upgraded.embedder.batches]
    assert sizes == [SLICE_TEXTS] * (COMMIT_ENTRIES // SLICE_TEXTS) + [1, 1, 1, 1]
    assert upgraded.store.stats().commits == commits + 2


async def test_nothing_is_wanted_without_vectors_of_another_embedder_or_without_a_comparison(upgraded):
    await upgraded.fill("a")
    upgraded.upgrade()
    exact = Cacheability(Tier.EXACT, "exact_only")
    for request in (keyed(inert=()), keyed(inert=("nothing lies here",)), keyed(cacheability=exact)):
        await upgraded.reembedding.want(request)
        assert "of 0 partitions" in repr(upgraded.reembedding)
    await upgraded.reembedding.want(keyed())
    await upgraded.reembedding.want(keyed())
    assert "of 1 partitions" in repr(upgraded.reembedding)


async def test_without_other_embedders_the_task_ends_at_once():
    upgraded = Upgraded()
    upgraded.upgrade()
    await asyncio.wait_for(upgraded.reembedding.run(), 1)


async def test_partitions_are_wanted_up_to_a_bound(upgraded, monkeypatch):
    assert MAX_WANTED >= 1000
    monkeypatch.setattr(reembedding, "MAX_WANTED", 2)
    for name in "abc":
        await upgraded.fill(name, partition=name)
    upgraded.upgrade()
    await upgraded.reembedding.want(keyed(inert=("a", "b", "c")))
    assert "of 2 partitions" in repr(upgraded.reembedding)
    async with upgraded.running():
        await upgraded.settled()
        assert upgraded.store.stats().inert == 1
        await upgraded.reembedding.want(keyed(inert=("a", "b", "c")))
        await upgraded.settled()
    assert upgraded.store.stats().inert == 0


async def test_a_text_that_the_model_can_not_read_as_a_whole_has_exact_hits_alone(upgraded):
    await upgraded.fill("short")
    await upgraded.fill("long", text="{} " + "word " * 300)
    upgraded.upgrade()
    async with upgraded.running() as task:
        await upgraded.reembedding.want(keyed())
        await asyncio.wait_for(task, 5)
    assert list(upgraded.in_partition("new")) == [1]
    assert upgraded.in_partition("old") == {}
    assert await upgraded.store.entries.find_exact(digest("long")) is not None
    assert upgraded.embedder.batches == [("What is short?",)]


class FailingEmbedder(HashingEmbedder):
    """Fails on a batch with a text that has the word "poison", and on all while `is_lost`."""

    is_lost = False

    async def embed(self, texts):
        found = await super().embed(texts)
        if self.is_lost or any("poison" in text for text in texts):
            raise EmbeddingFailedError("broken")
        return found


async def test_a_text_on_which_the_model_always_fails_has_exact_hits_alone(upgraded):
    await upgraded.fill("a", "poison", "b")
    upgraded.upgrade()
    upgraded.reembedding._embedder = FailingEmbedder(dimension=16)
    await upgraded.reembedding.want(keyed())
    with capture_logs() as logs:
        async with upgraded.running() as task:
            await asyncio.wait_for(task, 5)
    assert list(upgraded.in_partition("new")) == [1, 3]
    assert upgraded.in_partition("old") == {}
    assert await upgraded.store.entries.find_exact(digest("poison")) is not None
    assert [line["event"] for line in logs][1:] == ["story.reembedding_text_failed", "story.reembedded"]
    assert "poison" not in str(logs)


async def test_a_model_that_fails_on_every_text_takes_no_vector_away(upgraded, monkeypatch):
    monkeypatch.setattr(reembedding, "_RETRY_S", 0.0)
    await upgraded.fill("a", "b")
    upgraded.upgrade()
    upgraded.reembedding._embedder = embedder = FailingEmbedder(dimension=16)
    embedder.is_lost = True
    await upgraded.reembedding.want(keyed())
    async with upgraded.running() as task:
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(embedder.batches) > 3
        assert list(upgraded.in_partition("old")) == [1, 2]
        embedder.is_lost = False
        await asyncio.wait_for(task, 5)
    assert list(upgraded.in_partition("new")) == [1, 2]


async def test_what_was_embedded_before_a_failure_is_moved(upgraded):
    class FullEmbedder(HashingEmbedder):
        async def embed(self, texts):
            if len(self.batches) == 3:
                raise OverloadedError("full")
            return await super().embed(texts)

    await upgraded.fill(*map(str, range(COMMIT_ENTRIES)))
    upgraded.upgrade()
    upgraded.reembedding._embedder = FullEmbedder(dimension=16)
    await upgraded.reembedding.want(keyed())
    async with upgraded.running():
        for _ in range(50):
            await asyncio.sleep(0)
        assert list(upgraded.in_partition("new")) == list(range(1, 3 * SLICE_TEXTS + 1))
    assert len(upgraded.in_partition("old")) == COMMIT_ENTRIES - 3 * SLICE_TEXTS


async def test_an_unexpected_failure_is_told_with_its_stack_and_tried_again(upgraded, monkeypatch):
    monkeypatch.setattr(reembedding, "_RETRY_S", 0.0)
    await upgraded.fill("a")
    upgraded.upgrade()
    upgraded.embedder.fail_next(RuntimeError("a defect"))
    await upgraded.reembedding.want(keyed())
    with capture_logs() as logs:
        async with upgraded.running() as task:
            await asyncio.wait_for(task, 5)
    assert list(upgraded.in_partition("new")) == [1]
    (line,) = [line for line in logs if line["event"] == "story.reembedding_failed"]
    assert (line["error"], line["exc_info"]) == ("RuntimeError: a defect", True)


async def test_a_failure_of_the_model_is_told_and_tried_again_after_the_others(upgraded, monkeypatch):
    error = OverloadedError("full")
    monkeypatch.setattr(reembedding, "_RETRY_S", 0.0)
    await upgraded.fill("a", partition="first")
    await upgraded.fill("b", partition="second")
    upgraded.upgrade()
    upgraded.embedder.fail_next(error)
    await upgraded.reembedding.want(keyed(inert=("first", "second")))
    with capture_logs() as logs:
        async with upgraded.running() as task:
            await asyncio.wait_for(task, 5)
    assert upgraded.embedder.batches == [("What is a?",), ("What is b?",), ("What is a?",)]
    assert [line["event"] for line in logs] == [
        "story.reembedding_began",
        "story.reembedding_failed",
        "story.reembedded",
    ]
    assert logs[1]["error"] == str(error)
    assert (logs[2]["entries"], logs[2]["partitions"], logs[2]["inert"]) == (2, 2, 0)


async def test_a_full_store_loses_nothing(upgraded, monkeypatch):
    monkeypatch.setattr(reembedding, "_RETRY_S", 0.0)
    await upgraded.fill("a", "b")
    upgraded.upgrade()
    upgraded.store.fail_writes = StoreFullError("full")
    await upgraded.reembedding.want(keyed())
    async with upgraded.running() as task:
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(upgraded.in_partition("old")) == 2
        upgraded.store.fail_writes = None
        await asyncio.wait_for(task, 5)
    assert len(upgraded.in_partition("new")) == 2


async def test_it_ends_with_the_store(upgraded):
    await upgraded.fill("a")
    upgraded.upgrade()
    await upgraded.reembedding.want(keyed())
    await upgraded.store.close()
    await asyncio.wait_for(upgraded.reembedding.run(), 1)
    assert len(upgraded.in_partition("old")) == 1


async def test_an_entry_that_goes_while_it_is_embedded_stays_gone(upgraded):
    await upgraded.fill("a", "b")
    upgraded.upgrade()
    gate = upgraded.embedder.hang_next()
    await upgraded.reembedding.want(keyed())
    async with upgraded.running() as task:
        for _ in range(10):
            await asyncio.sleep(0)
        assert upgraded.embedder.batches == [("What is a?", "What is b?")]
        await upgraded.store.entries.invalidate(Selector("acme", entry_ids=(1,)), apply=True)
        gate.set()
        await asyncio.wait_for(task, 5)
    assert list(upgraded.in_partition("new")) == [2]
    assert upgraded.store.stats().entries == 1


async def test_cancelled_anywhere_it_goes_on_where_it_stopped(upgraded):
    await upgraded.fill(*map(str, range(100)))
    upgraded.upgrade()
    for steps in range(1, 60):
        await upgraded.reembedding.want(keyed())
        task = asyncio.create_task(upgraded.reembedding.run())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        old, new = upgraded.in_partition("old"), upgraded.in_partition("new")
        assert sorted([*old, *new]) == list(range(1, 101))
        upgraded.reembedding = Reembedding(upgraded.store, upgraded.embedder, upgraded.clock)
        if not old:
            return
    pytest.fail("it never ended")


async def test_progress_is_told_now_and_then(upgraded):
    class SlowEmbedder(HashingEmbedder):
        async def embed(self, texts):
            upgraded.clock.advance(4 * len(texts) / COMMIT_ENTRIES)
            return await super().embed(texts)

    await upgraded.fill(*map(str, range(7 * COMMIT_ENTRIES)))
    upgraded.upgrade()
    upgraded.reembedding._embedder = SlowEmbedder(dimension=16)
    with pytest.MonkeyPatch.context() as patch, capture_logs() as logs:
        patch.setattr(reembedding, "_LONGEST_PAUSE_S", 0.0)
        async with upgraded.running():
            await upgraded.reembedding.want(keyed())
            await upgraded.settled()
    told = [(line["event"], line.get("entries")) for line in logs]
    assert told == [
        ("story.reembedding_began", None),
        ("story.reembedding", 3 * COMMIT_ENTRIES),
        ("story.reembedding", 6 * COMMIT_ENTRIES),
        ("story.reembedded", 7 * COMMIT_ENTRIES),
    ]


def test_callers_get_the_device_for_as_long_as_a_slice_took_and_longer_under_load():
    assert pause_s(0.02, 0.0) == 0.02
    assert pause_s(0.02, 0.01) > 0.2
    assert pause_s(0.02, 1.0) == pause_s(60, 0.0) == 2.0
