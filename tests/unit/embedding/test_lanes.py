"""The queue and its lanes over a backend whose every step the test decides, on a clock that the test moves."""

import asyncio

import numpy as np
import pytest
import structlog

from semcache.embedding.scheduling import Start, Until
from semcache.errors import EmbeddingFailedError, OverloadedError, ShuttingDownError
from semcache.testing.clock import FakeClock
from tests.support.backends import Device, GatedBackend, LanesBackend, WatchedPlan

LONG = 10
"""Repetitions of two token ids that make a text long: at the first guess it takes 2 ms, and one lane isn't enough."""
ENOUGH = 500
"""Repetitions of two token ids that make a pass of one text full."""


def ticks():
    now = iter(range(10_000))
    return lambda: float(next(now))


@pytest.fixture
async def gated():
    backend = GatedBackend()
    device = Device(backend, max_queue=8, monotonic=ticks(), on_batch=backend.observed.append_batch)
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


async def test_the_texts_of_a_caller_who_left_are_skipped(gated):
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


async def test_texts_of_the_turn_in_which_the_queue_closes_are_computed(gated):
    backend, device = gated
    backend.open()
    leaving = asyncio.create_task(device.submit([[1, 1]]))
    await asyncio.sleep(0)
    leaving.cancel()
    late = asyncio.create_task(device.submit([[1, 2]]))
    await asyncio.sleep(0)
    closing = asyncio.create_task(device.close())
    assert (await asyncio.wait_for(late, 30)).tolist() == [[1, 2]]
    await closing
    assert device.depth == 0


async def test_small_batches_have_an_eighth_of_the_texts_until_they_are_as_usual_again(gated):
    backend, device = gated
    backend.open()
    device.queue.keep_batches_small(small=True)
    await device.submit([[1, n] for n in range(2)])
    device.queue.keep_batches_small(small=False)
    await device.submit([[1, n] for n in range(2)])
    assert [len(batch) for batch in backend.batches] == [1, 1, 2]


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


async def test_lanes_compute_the_batches_of_the_plan_and_no_others():
    backend = LanesBackend(2)
    device = Device(backend, planner=lambda _now, waiting, *_: Start(((2,), (0, 1))) if waiting.lengths else Until(0.0))
    call = asyncio.create_task(device.submit([[1, 0], [1, 1], [1, 2]]))
    await backend.entered(2)
    assert sorted(batch for batch, _ in backend.running) == [[[1, 0], [1, 1]], [[1, 2]]]
    backend.open_all()
    assert (await call)[:, 1].tolist() == [0, 1, 2]


@pytest.fixture
async def two_lanes():
    """Two lanes, the clock that they plan by, and the plan that a test can watch."""
    backend, clock, watched = LanesBackend(2), FakeClock(), WatchedPlan()
    device = Device(backend, monotonic=clock.monotonic, planner=watched)
    device.clock, device.watched = clock, watched
    yield backend, device
    backend.open_all()
    await device.close()
    assert backend.closed == 1


@pytest.fixture
async def one_busy(two_lanes):
    """Two lanes, one of which computes a long text until the backend is opened."""
    backend, device = two_lanes
    slow = asyncio.create_task(device.submit([[1, 7] * 60]))
    await backend.entered(1)
    yield backend, device, slow
    backend.open_all()
    await slow


async def pass_beside_the_busy_lane(backend, device, ids, wait_s=0.0):
    """One text goes through the other lane after `wait_s`, while the busy one goes on."""
    quick = asyncio.create_task(device.submit([ids]))
    await asyncio.sleep(0)  # it is submitted
    await asyncio.sleep(0)  # it is handed over
    device.clock.advance(wait_s)
    await backend.entered(2)
    backend.open_one(lambda batch: batch[0][1] == ids[1])
    assert (await quick).tolist() == [ids[:2]]


async def test_free_lanes_share_what_waits_and_each_has_a_thread_of_its_own(two_lanes):
    backend, device = two_lanes
    call = asyncio.create_task(device.submit([[1, n, *range(20)] for n in range(6)]))
    await backend.entered(2)
    assert sorted(len(batch) for batch, _ in backend.running) == [3, 3]
    assert {lane for _, lane in backend.running} == {0, 1}
    backend.open_all()
    assert (await call)[:, 1].tolist() == list(range(6))


async def test_a_few_short_texts_are_one_lane_s(two_lanes):
    backend, device = two_lanes
    call = asyncio.create_task(device.submit([[1, 0], [1, 1]]))
    await backend.entered(1)
    assert [len(batch) for batch, _ in backend.running] == [2]
    backend.open_all()
    await call


async def test_a_pass_does_not_wait_for_another_lane_s(one_busy):
    backend, device, slow = one_busy
    for n in range(3):
        await pass_beside_the_busy_lane(backend, device, [1, n] * ENOUGH)
    assert not slow.done()


@pytest.mark.parametrize("repetitions", [1, LONG])
async def test_little_waits_for_company_while_others_compute(one_busy, repetitions):
    backend, device, slow = one_busy
    first = asyncio.create_task(device.submit([[1, 0] * repetitions]))
    await device.watched.waits()
    assert len(backend.running) == 1
    second = asyncio.create_task(device.submit([[1, 1] * ENOUGH]))  # now a pass is worth its cost
    await backend.entered(2)
    assert [[1, 0] * repetitions] in [batch for batch, _ in backend.running]
    backend.open_all()
    await asyncio.gather(slow, first, second)


@pytest.mark.parametrize("repetitions", [1, LONG])
async def test_a_text_that_waits_for_company_goes_on_when_the_others_are_done(one_busy, repetitions):
    backend, device, slow = one_busy
    lonely = asyncio.create_task(device.submit([[1, 0] * repetitions]))
    await device.watched.waits()
    backend.open_all()
    await asyncio.wait_for(asyncio.gather(slow, lonely), 30)


@pytest.mark.parametrize(("repetitions", "wait_s"), [(1, 0.05), (LONG, 0.005)])
async def test_patience_ends(one_busy, repetitions, wait_s):
    backend, device, slow = one_busy
    await pass_beside_the_busy_lane(backend, device, [1, 0] * repetitions, wait_s)
    assert not slow.done()


async def test_a_full_batch_waits_for_no_company(one_busy):
    backend, device, slow = one_busy
    four = asyncio.create_task(device.submit([[1, n] * LONG for n in range(4)]))
    await backend.entered(2)
    backend.open_all()
    await asyncio.gather(slow, four)


async def test_closing_waits_for_no_other_lane(one_busy):
    backend, device, slow = one_busy
    lonely = asyncio.create_task(device.submit([[1, 0]]))
    await device.watched.waits()
    closing = asyncio.create_task(device.close())
    await backend.entered(2)
    backend.open_all()
    await asyncio.wait_for(asyncio.gather(slow, lonely, closing), 30)


async def test_short_texts_are_left_to_the_lane_that_computes(one_busy):
    backend, device, slow = one_busy
    ((_, busy_lane),) = backend.running
    quick = [asyncio.create_task(device.submit([[1, n] for n in range(4)])) for _ in range(2)]
    await device.watched.waits()
    assert len(backend.running) == 1
    backend.open_one(lambda batch: batch[0][1] == 7)
    await backend.entered(1)
    assert [(len(batch), lane) for batch, lane in backend.running] == [(4, busy_lane)]
    backend.open_all()
    await asyncio.gather(slow, *quick)


async def test_short_texts_are_not_divided(two_lanes):
    backend, device = two_lanes
    call = asyncio.create_task(device.submit([[1, n] for n in range(4)]))
    await backend.entered(1)
    assert [len(batch) for batch, _ in backend.running] == [4]
    backend.open_all()
    await call


async def test_a_long_text_among_short_ones_is_worth_another_lane(one_busy):
    backend, device, slow = one_busy
    short = asyncio.create_task(device.submit([[1, 0]]))
    await asyncio.sleep(0)
    long = asyncio.create_task(device.submit([[1, 1] * ENOUGH]))
    await backend.entered(2)
    backend.open_all()
    await asyncio.gather(slow, short, long)


async def test_a_short_text_beside_a_lane_that_hangs_finds_the_other(one_busy):
    backend, device, slow = one_busy
    device.clock.advance(1.0)
    for n in range(3):
        await pass_beside_the_busy_lane(backend, device, [1, n], wait_s=0.005)
    assert not slow.done()


async def test_a_short_text_is_not_left_to_a_lane_that_is_long_at_it(two_lanes):
    backend, device = two_lanes
    slow = asyncio.create_task(device.submit([[1, 7] * 600]))  # 0.12 s at the first guess
    await backend.entered(1)
    await pass_beside_the_busy_lane(backend, device, [1, 0], wait_s=0.005)
    assert not slow.done()
    backend.open_all()
    await slow


async def test_a_call_over_both_lanes_fails_once_and_frees_all_its_texts(two_lanes):
    backend, device = two_lanes
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


async def test_a_caller_who_leaves_while_a_lane_waits_is_skipped(one_busy):
    backend, device, slow = one_busy
    leaving = asyncio.create_task(device.submit([[1, 0]]))
    await device.watched.waits()
    leaving.cancel()
    backend.open_all()
    await slow
    assert (await device.submit([[1, 2]])).tolist() == [[1, 2]]
    await device.close()
    assert device.depth == 0


async def test_a_log_that_is_closed_takes_no_lane_along(two_lanes):
    def fail(*_: object) -> None:
        raise ValueError("I/O operation on closed file.")

    backend, device = two_lanes
    backend.open_all()
    backend.failing = True
    configured = structlog.get_config()
    structlog.configure(processors=[fail])
    try:
        for _ in range(3):
            with pytest.raises(EmbeddingFailedError):
                await device.submit([[1, 1]])
        backend.failing = False
        assert (await device.submit([[1, 2]])).tolist() == [[1, 2]]
    finally:
        structlog.configure(**configured)
    assert device.depth == 0


async def test_beside_a_lane_that_hangs_the_other_goes_on_and_closing_gives_up(one_busy):
    backend, device, _ = one_busy
    device.clock.advance(1.0)
    for n in range(3):
        await pass_beside_the_busy_lane(backend, device, [1, n], wait_s=0.005)
    with structlog.testing.capture_logs() as logs:
        await device.close(patience_s=0.01)
    assert [line["event"] for line in logs] == ["embedding.device_hangs"]
    assert not backend.closed
