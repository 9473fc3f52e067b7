"""An embedding device that fails, hangs or gives anything but vectors."""

import asyncio

import numpy as np
import pytest
import structlog

from semcache.errors import EmbeddingFailedError
from tests.support.backends import Device, GatedBackend


class Nonsense(GatedBackend):
    """Gives the arrays of `answers` in turn instead of vectors."""

    def __init__(self, *answers: np.ndarray) -> None:
        super().__init__()
        self.answers = list(answers)
        self.open()

    def forward(self, batch, lane=0):
        return self.answers.pop(0) if self.answers else super().forward(batch, lane)


@pytest.fixture(autouse=True)
def logs():
    with structlog.testing.capture_logs() as captured:
        yield captured


async def test_a_failing_batch_reaches_every_waiter_of_it_and_nobody_else(logs):
    backend = GatedBackend()
    device = Device(backend)
    backend.failures = [None, MemoryError("no memory left on the device"), None]
    before = asyncio.create_task(device.submit([[1, 0]]))
    await backend.entered()
    in_it = [asyncio.create_task(device.submit([[1, n]])) for n in range(1, 5)]
    after = asyncio.create_task(device.submit([[1, 5]]))
    await asyncio.sleep(0)
    backend.open()
    assert (await before).tolist() == [[1, 0]]
    outcomes = await asyncio.gather(*in_it, return_exceptions=True)
    assert all(isinstance(outcome, EmbeddingFailedError) for outcome in outcomes)
    assert all("MemoryError: no memory left" in str(outcome) for outcome in outcomes)
    assert all(isinstance(outcome.__cause__, MemoryError) for outcome in outcomes)
    assert (await after).tolist() == [[1, 5]]
    assert device.depth == 0
    assert [line["event"] for line in logs] == ["embedding.batch_failed"]
    await device.close()


async def test_a_call_over_several_batches_ends_once_when_one_of_them_fails():
    backend = GatedBackend()
    backend.open()
    backend.failures = [None, RuntimeError("second batch")]
    device = Device(backend)
    with pytest.raises(EmbeddingFailedError):
        await device.submit([[1, n] for n in range(12)])
    assert [len(batch) for batch in backend.batches] == [4, 4]  # the third would have been for nobody
    assert device.depth == 0
    assert (await device.submit([[1, 1]])).tolist() == [[1, 1]]
    await device.close()


@pytest.mark.parametrize(
    "answer",
    [np.zeros((2, 2), np.float32), np.zeros((1, 3), np.float32), np.array([[np.nan, 0]], np.float32)],
    ids=["too many", "too long", "not a number"],
)
async def test_nonsense_is_an_error_and_not_a_vector(answer):
    device = Device(Nonsense(answer))
    with pytest.raises(EmbeddingFailedError, match="backend gave"):
        await device.submit([[1, 1]])
    assert (await device.submit([[1, 2]])).tolist() == [[1, 2]]
    await device.close()


async def test_a_hanging_device_lets_its_callers_leave_and_closing_gives_up(logs):
    backend = GatedBackend()
    device = Device(backend)
    caller = asyncio.create_task(device.submit([[1, 1]]))
    await backend.entered()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await device.close(patience_s=0.01)
    assert [line["event"] for line in logs] == ["embedding.device_hangs"]
    backend.open()
    await device.close()
    assert backend.closed


def test_a_loop_that_died_takes_no_other_along():
    backend = GatedBackend()
    device = Device(backend)

    async def leave() -> None:
        task = asyncio.ensure_future(device.submit([[1, 1]]))
        await backend.entered()
        task.cancel()

    asyncio.run(leave())
    backend.open()

    async def stay() -> None:
        assert (await device.submit([[1, 2]])).tolist() == [[1, 2]]
        assert device.depth == 0
        await device.close()

    asyncio.run(stay())
