"""The device thread over a backend whose every step the test decides."""

import asyncio

import numpy as np
import pytest

from semcache.embedding.batching import BatchRule
from semcache.embedding.device import DeviceThread
from semcache.errors import OverloadedError, ShuttingDownError
from tests.support.backends import GatedBackend

RULE = BatchRule(max_texts=4, max_tokens=1000, pass_tokens=12)


def ticks():
    now = iter(range(10_000))
    return lambda: float(next(now))


@pytest.fixture
async def gated():
    backend = GatedBackend()
    device = DeviceThread(
        backend, dimension=2, rule=RULE, max_queue=8, monotonic=ticks(), on_batch=backend.observed.append_batch
    )
    yield backend, device
    backend.open()
    await device.close()


async def test_what_queued_while_the_device_was_busy_is_the_next_batch(gated):
    backend, device = gated
    first = asyncio.create_task(device.submit([[1, 7]]))
    await backend.entered()
    others = [asyncio.create_task(device.submit([[1, n]])) for n in range(3)]
    await asyncio.sleep(0)
    backend.open()
    await asyncio.gather(first, *others)
    assert [len(batch) for batch in backend.batches] == [1, 3]


async def test_one_call_may_spread_over_batches_and_keeps_its_order(gated):
    backend, device = gated
    backend.open()
    texts = [[1, n] for n in range(7)]
    vectors = await device.submit(texts)
    assert vectors[:, 1].tolist() == list(range(7))
    assert [len(batch) for batch in backend.batches] == [4, 3]


async def test_the_queue_is_bounded_and_refuses_at_once(gated):
    backend, device = gated
    tasks = [asyncio.create_task(device.submit([[1, n]])) for n in range(8)]
    await backend.entered()
    assert device.depth == 8
    with pytest.raises(OverloadedError) as refused:
        await device.submit([[1, 9]])
    assert refused.value.retry_after_s > 0
    assert "embedding.max_queue is 8" in str(refused.value)
    backend.open()
    await asyncio.gather(*tasks)
    assert device.depth == 0
    assert (await device.submit([[1, 9]])).shape == (1, 2)


async def test_who_left_is_skipped(gated):
    backend, device = gated
    first = asyncio.create_task(device.submit([[1, 0]]))
    await backend.entered()
    leaving = asyncio.create_task(device.submit([[1, 1], [1, 2]]))
    staying = asyncio.create_task(device.submit([[1, 3]]))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    backend.open()
    await asyncio.gather(first, staying)
    assert backend.batches == [[[1, 0]], [[1, 3]]]
    assert device.depth == 0


async def test_closing_computes_what_has_queued_and_takes_no_more(gated):
    backend, device = gated
    queued = [asyncio.create_task(device.submit([[1, n]])) for n in range(6)]
    await backend.entered()
    closing = asyncio.create_task(device.close())
    await asyncio.sleep(0)
    with pytest.raises(ShuttingDownError):
        await device.submit([[1, 9]])
    backend.open()
    await closing
    assert all(vectors.shape == (1, 2) for vectors in await asyncio.gather(*queued))
    assert backend.closed


async def test_a_batch_is_observed_with_its_size_and_seconds(gated):
    backend, device = gated
    backend.open()
    await device.submit([[1, 1], [1, 2]])
    await device.close()
    assert backend.observed.batches == [(2, 1.0)]


async def test_an_observer_that_fails_harms_nobody(gated):
    backend, device = gated
    backend.open()
    backend.observed.failing = True
    assert (await device.submit([[1, 1]])).shape == (1, 2)
    assert np.isfinite(await device.submit([[1, 2]])).all()
