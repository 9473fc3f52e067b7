"""Backends whose every step a test decides, and the queue and lanes over one of them."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from math import inf

import numpy as np

from semcache.embedding.backend import Backend, BackendInfo
from semcache.embedding.lanes import Lanes, OnBatch
from semcache.embedding.queue import Planner, TextQueue
from semcache.embedding.scheduling import BatchRule, Running, Step, Until, Waiting, plan
from semcache.testing.clock import FakeClock
from tests.support.passage import Passage

RULE = BatchRule(max_texts=4, max_tokens=1000, pass_tokens=12)


class Device:
    """A queue and the lanes that serve it, as the embedder holds them."""

    def __init__(
        self,
        backend: Backend,
        *,
        max_queue: int = 100,
        max_wait_s: float = inf,
        monotonic: Callable[[], float] | None = None,
        on_batch: OnBatch | None = None,
        planner: Planner = plan,
    ) -> None:
        monotonic = monotonic or FakeClock().monotonic
        self.queue = TextQueue(
            dimension=2,
            rule=RULE,
            lanes=backend.lanes,
            max_queue=max_queue,
            monotonic=monotonic,
            max_wait_s=max_wait_s,
            planner=planner,
        )
        self._lanes = Lanes(backend, self.queue, dimension=2, monotonic=monotonic, on_batch=on_batch)

    @property
    def depth(self) -> int:
        return self.queue.depth

    async def submit(self, texts: Sequence[Sequence[int]]) -> np.ndarray:
        return await self.queue.submit(texts)

    async def close(self, patience_s: float = 30.0) -> None:
        await self._lanes.close(patience_s)


class WatchedPlan:
    """The real plan, which a test can wait for until it makes a lane wait for more texts."""

    def __init__(self) -> None:
        self._waits = threading.Event()

    def __call__(self, now_s: float, waiting: Waiting, running: Running, rule: BatchRule) -> Step:
        step = plan(now_s, waiting, running, rule)
        if isinstance(step, Until):
            self._waits.set()
        return step

    async def waits(self) -> None:
        """Return once a plan was to wait for more texts."""
        assert await asyncio.to_thread(self._waits.wait, 30)


class Observed:
    """Collects the arguments of `on_batch`."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, float]] = []
        self.failing = False

    def append_batch(self, size: int, seconds: float) -> None:
        if self.failing:
            raise RuntimeError("the observer fails because the test wants it to")
        self.batches.append((size, seconds))


class GatedBackend(Passage):
    """Each forward pass waits until `open`; a vector is its text's first two token ids. Raises `failures` in turn."""

    lanes = 1

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Sequence[int]]] = []
        self.failures: list[Exception | None] = []
        self.observed = Observed()
        self.closed = False

    def forward(self, batch: Sequence[Sequence[int]], lane: int = 0) -> np.ndarray:
        self.batches.append(list(batch))
        self.hold()
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        return np.array([ids[:2] for ids in batch], dtype=np.float32)

    def info(self) -> BackendInfo:
        return BackendInfo("gated", "", "cpu", "fp32")

    def close(self) -> None:
        self.closed = True


class LanesBackend:
    """Several passes at once, each of which waits until the test opens it; a vector is its text's first two ids."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.running: list[tuple[list[Sequence[int]], int]] = []
        self.failing = False
        self.closed = 0
        self._open = False
        self._changed = threading.Condition()

    async def entered(self, count: int) -> None:
        """Return once so many passes run at the same time."""

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: len(self.running) >= count, 30)

        assert await asyncio.to_thread(wait)

    def open_one(self, is_wanted: Callable[[list[Sequence[int]]], bool]) -> None:
        """Let the passes end whose batch is wanted, and return when they are gone from `running`."""
        with self._changed:
            self.running = [started for started in self.running if not is_wanted(started[0])]
            self._changed.notify_all()

    def open_all(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def forward(self, batch: Sequence[Sequence[int]], lane: int = 0) -> np.ndarray:
        mine = (list(batch), lane)
        with self._changed:
            assert all(other != lane for _, other in self.running), "one thread at a time uses a lane"
            self.running.append(mine)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._open or mine not in self.running, 30)
            self.running = [started for started in self.running if started is not mine]
        if self.failing:
            raise RuntimeError("the pass fails because the test wants it to")
        return np.array([ids[:2] for ids in batch], dtype=np.float32)

    def info(self) -> BackendInfo:
        return BackendInfo("lanes", "", "cpu", "fp32")

    def close(self) -> None:
        self.closed += 1
