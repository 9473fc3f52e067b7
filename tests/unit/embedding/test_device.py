"""The device threads over a backend whose every step the test decides."""

import asyncio
import math
import threading
import time

import numpy as np
import pytest
import structlog

from semcache.embedding import device as device_module
from semcache.embedding.batching import BatchRule
from semcache.embedding.device import DeviceThreads
from semcache.errors import EmbeddingFailedError, OverloadedError, ShuttingDownError
from tests.support.backends import GatedBackend, StreamsBackend

RULE = BatchRule(max_texts=4, max_tokens=1000, pass_tokens=12)


def ticks():
    now = iter(range(10_000))
    return lambda: float(next(now))


@pytest.fixture
async def gated():
    backend = GatedBackend()
    device = DeviceThreads(
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


async def in_company(device):
    """Returns once a stream waits for company, whose patience is long."""

    def wait() -> None:
        until = time.monotonic() + 30
        while not waits() and time.monotonic() < until:
            time.sleep(0.001)

    def waits() -> bool:
        return any(math.isfinite(until) for until in list(device._sleep_until.values()))

    await asyncio.to_thread(wait)
    assert waits()


@pytest.fixture
def long_patience(monkeypatch):
    monkeypatch.setattr(device_module, "_MOST_PATIENCE_S", 1_000.0)
    monkeypatch.setattr(device_module, "_PATIENCE", 1e9)


@pytest.fixture
async def two_streams(monkeypatch):
    """Two streams whose texts take long enough for both to be worth it, whatever their length."""
    monkeypatch.setattr(device_module, "_TEXT_S", 0.0)
    backend = StreamsBackend(2)
    device = DeviceThreads(backend, dimension=2, rule=RULE, max_queue=100, monotonic=ticks())
    yield backend, device
    backend.open_all()
    await device.close()
    assert backend.closed == 1


@pytest.fixture
async def one_busy(two_streams):
    """Two streams, one of which computes until the backend is opened."""
    backend, device = two_streams
    slow = asyncio.create_task(device.submit([[1, 7] * 60]))
    await backend.entered(1)
    yield backend, device, slow
    backend.open_all()
    await slow


async def pass_beside_the_busy_stream(backend, device, ids):
    """One text goes through the other stream, while the busy one goes on."""
    quick = asyncio.create_task(device.submit([ids]))
    await backend.entered(2)
    backend.open_one(lambda batch: batch[0][1] == ids[1])
    assert (await quick).tolist() == [ids[:2]]


async def test_free_streams_share_what_waits_and_each_has_a_thread_of_its_own(two_streams):
    backend, device = two_streams
    call = asyncio.create_task(device.submit([[1, n, *range(20)] for n in range(6)]))
    await backend.entered(2)
    assert sorted(len(batch) for batch, _ in backend.running) == [3, 3]
    assert {stream for _, stream in backend.running} == {0, 1}
    backend.open_all()
    assert (await call)[:, 1].tolist() == list(range(6))


async def test_a_few_short_texts_are_one_stream_s(two_streams):
    backend, device = two_streams
    call = asyncio.create_task(device.submit([[1, 0], [1, 1]]))
    await backend.entered(1)
    assert [len(batch) for batch, _ in backend.running] == [2]
    backend.open_all()
    await call


async def test_a_pass_does_not_wait_for_another_stream_s(one_busy):
    backend, device, slow = one_busy
    for n in range(3):  # whichever stream: the other one is busy
        await pass_beside_the_busy_stream(backend, device, [1, n] * 100)
    assert not slow.done()


@pytest.mark.usefixtures("long_patience")
async def test_little_waits_for_company_while_others_compute(one_busy):
    backend, device, slow = one_busy
    first = asyncio.create_task(device.submit([[1, 0]]))
    await in_company(device)
    assert len(backend.running) == 1
    second = asyncio.create_task(device.submit([[1, 1] * 100]))  # now a pass is worth its cost
    await backend.entered(2)
    assert [[1, 0]] in [batch for batch, _ in backend.running]
    backend.open_all()
    await asyncio.gather(slow, first, second)


@pytest.mark.usefixtures("long_patience")
async def test_who_waits_for_company_goes_on_when_the_others_are_done(one_busy):
    backend, device, slow = one_busy
    lonely = asyncio.create_task(device.submit([[1, 0]]))
    await in_company(device)
    backend.open_all()
    await asyncio.wait_for(asyncio.gather(slow, lonely), 30)


async def test_patience_ends(one_busy):
    backend, device, slow = one_busy
    await pass_beside_the_busy_stream(backend, device, [1, 0])
    assert not slow.done()


@pytest.mark.usefixtures("long_patience")
async def test_closing_waits_for_no_company(one_busy):
    backend, device, slow = one_busy
    lonely = asyncio.create_task(device.submit([[1, 0]]))
    await in_company(device)
    closing = asyncio.create_task(device.close())
    await backend.entered(2)
    backend.open_all()
    await asyncio.wait_for(asyncio.gather(slow, lonely, closing), 30)


async def test_short_texts_are_left_to_the_stream_that_computes(one_busy, monkeypatch):
    monkeypatch.setattr(device_module, "_TEXT_S", 1_000.0)
    backend, device, slow = one_busy
    quick = [asyncio.create_task(device.submit([[1, n] * 50 for n in range(4)])) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert len(backend.running) == 1
    backend.open_one(lambda batch: batch[0][1] == 7)
    await backend.entered(1)
    assert [(len(batch), stream) for batch, stream in backend.running] == [(4, 0)]
    backend.open_all()
    await asyncio.gather(slow, *quick)


async def test_short_texts_are_not_divided(two_streams, monkeypatch):
    monkeypatch.setattr(device_module, "_TEXT_S", 1_000.0)
    backend, device = two_streams
    call = asyncio.create_task(device.submit([[1, n] * 50 for n in range(4)]))
    await backend.entered(1)
    assert [len(batch) for batch, _ in backend.running] == [4]
    backend.open_all()
    await call


async def test_a_long_text_among_short_ones_is_worth_another_stream(one_busy, monkeypatch):
    monkeypatch.setattr(device_module, "_TEXT_S", 0.0101)  # of 100 tokens at the first guess
    backend, device, slow = one_busy
    short = asyncio.create_task(device.submit([[1, 0] * 50]))
    await asyncio.sleep(0)
    long = asyncio.create_task(device.submit([[1, 1] * 100]))
    await backend.entered(2)
    backend.open_all()
    await asyncio.gather(slow, short, long)


async def test_a_short_text_beside_a_stream_that_hangs_finds_the_other(one_busy, monkeypatch):
    monkeypatch.setattr(device_module, "_TEXT_S", 0.005)
    backend, device, slow = one_busy
    for n in range(3):
        await pass_beside_the_busy_stream(backend, device, [1, n])
        device._token_s = 0.0001  # the test's clock ticks in seconds
    assert not slow.done()


async def test_a_short_text_is_not_left_to_a_stream_that_is_long_at_it(two_streams, monkeypatch):
    monkeypatch.setattr(device_module, "_TEXT_S", 10.0)  # what is left is looked at again after 40 s
    backend, device = two_streams
    device._token_s = 1.0
    slow = asyncio.create_task(device.submit([[1, 7] * 60]))
    await backend.entered(1)
    await asyncio.wait_for(pass_beside_the_busy_stream(backend, device, [1, 0]), 20)
    backend.open_all()
    await slow


async def test_a_short_text_is_not_left_to_a_stream_that_is_overdue(two_streams, monkeypatch):
    monkeypatch.setattr(device_module, "_TEXT_S", 10.0)  # what is left is looked at again after 40 s
    backend, device = two_streams
    slow = asyncio.create_task(device.submit([[1, 7] * 60]))
    await backend.entered(1)
    device._ends_s = dict.fromkeys(device._ends_s, time.monotonic() - 41)
    await asyncio.wait_for(pass_beside_the_busy_stream(backend, device, [1, 0]), 20)
    backend.open_all()
    await slow


async def test_what_comes_while_a_stream_looks_in_vain_is_computed_before_the_end(gated, monkeypatch):
    backend, device = gated
    backend.open()
    in_vain, go_on, send = threading.Event(), threading.Event(), device._send

    def held_up(*reply: object) -> None:
        in_vain.set()
        go_on.wait(30)
        send(*reply)

    monkeypatch.setattr(device, "_send", held_up)
    leaving = asyncio.create_task(device.submit([[1, 1]]))
    with device._lock:  # the stream wakes up when the text has been given up
        await asyncio.sleep(0)
        leaving.cancel()
    await asyncio.to_thread(in_vain.wait, 30)
    late = asyncio.create_task(device.submit([[1, 2]]))
    await asyncio.sleep(0)
    closing = asyncio.create_task(device.close())
    await asyncio.sleep(0)
    go_on.set()
    assert (await asyncio.wait_for(late, 30)).tolist() == [[1, 2]]
    await closing
    assert device.depth == 0


async def test_a_call_over_both_streams_fails_once_and_frees_all_its_texts(two_streams):
    backend, device = two_streams
    backend.failing = True
    call = asyncio.create_task(device.submit([[1, n, *range(20)] for n in range(16)]))
    await backend.entered(2)
    backend.open_all()
    with pytest.raises(EmbeddingFailedError):
        await call
    backend.failing = False
    assert (await device.submit([[1, 9]])).tolist() == [[1, 9]]
    await device.close()
    assert device.depth == 0


@pytest.mark.usefixtures("long_patience")
async def test_a_full_batch_waits_for_no_company(one_busy):
    backend, device, slow = one_busy
    four = asyncio.create_task(device.submit([[1, n] for n in range(4)]))
    await backend.entered(2)
    backend.open_all()
    await asyncio.gather(slow, four)


@pytest.mark.usefixtures("long_patience")
async def test_who_leaves_while_a_stream_waits_for_company_is_skipped(one_busy):
    backend, device, slow = one_busy
    leaving = asyncio.create_task(device.submit([[1, 0]]))
    await in_company(device)
    leaving.cancel()
    backend.open_all()
    await slow
    assert (await device.submit([[1, 2]])).tolist() == [[1, 2]]
    await device.close()
    assert device.depth == 0


async def test_a_log_that_is_closed_takes_no_stream_along(two_streams, monkeypatch):
    class Closed:
        def exception(self, event: str, **fields: object) -> None:
            raise ValueError("I/O operation on closed file.")

    backend, device = two_streams
    monkeypatch.setattr(device_module, "_log", Closed())
    backend.open_all()
    backend.failing = True
    for _ in range(3):
        with pytest.raises(EmbeddingFailedError):
            await device.submit([[1, 1]])
    backend.failing = False
    assert (await device.submit([[1, 2]])).tolist() == [[1, 2]]
    assert device.depth == 0


async def test_beside_a_stream_that_hangs_the_other_goes_on_and_closing_gives_up(one_busy):
    backend, device, _ = one_busy
    for n in range(3):
        await pass_beside_the_busy_stream(backend, device, [1, n])
    with structlog.testing.capture_logs() as logs:
        await device.close(patience_s=0.01)
    assert [line["event"] for line in logs] == ["embedding_device_hangs"]
    assert not backend.closed
