"""The front's delay as probes measure it, on a clock that the test moves."""

import asyncio

import grpc
import pytest

from semcache.server.call_counts import CallCounts
from semcache.server.grpc.heartbeat import Heartbeat
from semcache.testing.clock import FakeClock

BEAT_S = 0.05


class Reports:
    """Takes the place of the shedding."""

    tense = False

    def __init__(self):
        self.delays_s, self.rates = [], []

    def report(self, delay_s, elapsed_s, calls_per_s):
        self.delays_s.append(round(delay_s, 6))
        self.rates.append(calls_per_s)


class Rig:
    def __init__(self, failure=None) -> None:
        self.clock, self.counts, self.reports = FakeClock(), CallCounts(), Reports()
        self.probes, self.beats, self.failure = [], 0, failure
        self.heartbeat = Heartbeat(
            probe=self._probe,
            counts=self.counts,
            shedding=self.reports,
            on_beat=self._beaten,
            monotonic=self.clock.monotonic,
        )

    def _beaten(self):
        self.beats += 1

    async def _probe(self):
        answered = asyncio.Event()
        self.probes.append(answered)
        await answered.wait()
        if self.failure is not None:
            raise self.failure

    async def beat(self, *, calls=16, lag_s=0.0):
        for _ in range(calls):
            self.counts.of("Complete").start()
        self.clock.advance(BEAT_S)
        self.heartbeat.beat(BEAT_S, lag_s=lag_s)
        await asyncio.sleep(0)

    async def answer(self):
        self.probes[-1].set()
        for _ in range(3):
            await asyncio.sleep(0)


async def test_a_probe_on_its_way_counts_with_what_it_has_waited_so_far():
    rig = Rig()
    for _ in range(4):
        await rig.beat()
    assert rig.reports.delays_s == [0.0, 0.05, 0.1, 0.15]
    assert len(rig.probes) == 1
    rig.clock.advance(0.02)
    await rig.answer()
    await rig.beat()
    assert rig.reports.delays_s[-1] == 0.17
    assert len(rig.probes) == 2
    assert rig.beats == 5


async def test_no_probe_is_sent_while_no_calls_come_and_an_old_delay_is_forgotten():
    rig = Rig()
    await rig.beat()
    rig.clock.advance(0.3)
    await rig.answer()
    await rig.beat(calls=0)
    await rig.beat(calls=0)
    assert rig.reports.delays_s == [0.0, 0.3, 0.0]
    assert len(rig.probes) == 1


@pytest.mark.parametrize(("tense", "probes"), [(False, 1), (True, 4)])
async def test_probes_are_few_beside_the_calls(tense, probes):
    rig = Rig()
    rig.reports.tense = tense
    for _ in range(16):
        await rig.beat(calls=1)
        if rig.probes:
            await rig.answer()
    assert len(rig.probes) == probes


async def test_a_loop_that_is_held_up_counts_without_a_probe():
    rig = Rig()
    await rig.beat(calls=0, lag_s=0.4)
    assert rig.reports.delays_s == [0.4]


async def test_the_rate_of_calls_follows_what_is_handed_over():
    rig = Rig()
    for _ in range(60):
        await rig.beat(calls=10)
    assert rig.reports.rates[-1] == pytest.approx(10 / BEAT_S, rel=0.01)
    for _ in range(60):
        await rig.beat(calls=0)
    assert rig.reports.rates[-1] < 1


async def test_a_probe_that_is_refused_counts_with_its_time():
    refusal = grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, grpc.aio.Metadata(), grpc.aio.Metadata())
    rig = Rig(failure=refusal)
    await rig.beat()
    rig.clock.advance(0.2)
    await rig.answer()
    await rig.beat()
    assert rig.reports.delays_s[-1] == 0.2


def test_a_clock_that_stands_still_tells_no_rate():
    rig = Rig()
    rig.heartbeat.beat(0.0, lag_s=0.0)
    assert (rig.beats, rig.reports.delays_s) == (1, [])
