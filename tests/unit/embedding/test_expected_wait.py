"""The wait for the embedder that is expected, by which a text is refused, over a backend whose passes the test ends."""

import asyncio

import pytest

from semcache.errors import OverloadedError
from semcache.testing.clock import FakeClock
from tests.support.backends import Device, GatedBackend, LanesBackend


async def test_a_text_that_would_wait_too_long_is_refused_and_the_items_of_a_batch_are_not():
    backend = GatedBackend()
    device = Device(backend, max_wait_s=0.0035)  # At the first guess a token takes 0.1 ms.
    first = asyncio.create_task(device.submit([[1] * 20]))
    await backend.entered()
    batch = [asyncio.create_task(device.submit([[1] * 20])) for _ in range(3)]
    await asyncio.sleep(0)
    assert device.queue.expected_wait_s() == pytest.approx(0.002)  # Texts of this turn don't refuse each other.
    await asyncio.sleep(0)
    assert device.queue.expected_wait_s() == pytest.approx(0.008)
    with pytest.raises(OverloadedError) as refused:
        await device.submit([[1]])
    assert refused.value.retry_after_s == pytest.approx(0.008)
    assert "server.max_wait_s" in str(refused.value)
    batch[0].cancel()
    backend.open()
    await asyncio.gather(first, *batch, return_exceptions=True)
    assert device.queue.expected_wait_s() == 0.0
    assert (await device.submit([[1, 2]])).shape == (1, 2)
    await device.close()


async def test_the_wait_that_is_expected_follows_a_batch_that_fails():
    backend = GatedBackend()
    device = Device(backend)
    backend.failures = [RuntimeError("the device failed")]
    failing = asyncio.create_task(device.submit([[1] * 20]))
    await backend.entered()
    assert device.queue.expected_wait_s() > 0
    backend.open()
    await asyncio.gather(failing, return_exceptions=True)
    assert device.queue.expected_wait_s() == 0.0
    await device.close()


async def test_a_pass_that_the_machine_held_up_hardly_raises_the_wait_that_is_expected():
    clock, backend = FakeClock(), LanesBackend(1)
    device = Device(backend, monotonic=clock.monotonic)
    held_up = asyncio.create_task(device.submit([[1] * 20]))
    await backend.entered(1)
    before_s = device.queue.expected_wait_s()
    clock.advance(60.0)
    backend.open_one(lambda _: True)
    await held_up
    following = asyncio.create_task(device.submit([[1] * 20]))
    await backend.entered(1)
    assert device.queue.expected_wait_s() == pytest.approx(1.1 * before_s)
    backend.open_one(lambda _: True)
    await following
    await device.close()
