"""Backends that do what a test tells them to, one step at a time."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np


class Observed:
    """Collects what `on_batch` was told."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, float]] = []
        self.failing = False

    def append_batch(self, size: int, seconds: float) -> None:
        if self.failing:
            raise RuntimeError("the observer fails as it was told to")
        self.batches.append((size, seconds))


class GatedBackend:
    """Each forward pass waits until `open`; a vector is its text's first two token ids. Raises `failures` in turn."""

    streams = 1

    def __init__(self) -> None:
        self.batches: list[list[Sequence[int]]] = []
        self.failures: list[Exception | None] = []
        self.observed = Observed()
        self.closed = False
        self._gate = threading.Event()
        self._inside = threading.Event()

    def open(self) -> None:
        self._gate.set()

    async def entered(self) -> None:
        """Returns once a forward pass has begun."""
        assert await asyncio.to_thread(self._inside.wait, 30)

    def forward(self, batch: Sequence[Sequence[int]], stream: int = 0) -> np.ndarray:
        self.batches.append(list(batch))
        self._inside.set()
        assert self._gate.wait(30)
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        return np.array([ids[:2] for ids in batch], dtype=np.float32)

    def describe(self) -> Mapping[str, str]:
        return {"backend": "gated"}

    def close(self) -> None:
        self.closed = True


class StreamsBackend:
    """Several passes at once, each of which waits until it is let go; a vector is its text's first two token ids."""

    def __init__(self, streams: int) -> None:
        self.streams = streams
        self.running: list[tuple[list[Sequence[int]], int]] = []
        self.failing = False
        self.closed = 0
        self._open = False
        self._changed = threading.Condition()

    async def entered(self, count: int) -> None:
        """Returns once so many passes run at the same time."""

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: len(self.running) >= count, 30)

        assert await asyncio.to_thread(wait)

    def open_one(self, which: Callable[[list[Sequence[int]]], bool]) -> None:
        """Lets the passes go whose batch `which` wants, and returns when they are gone from `running`."""
        with self._changed:
            self.running = [one for one in self.running if not which(one[0])]
            self._changed.notify_all()

    def open_all(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def forward(self, batch: Sequence[Sequence[int]], stream: int = 0) -> np.ndarray:
        mine = (list(batch), stream)
        with self._changed:
            assert all(other != stream for _, other in self.running), "a stream is used by one thread at a time"
            self.running.append(mine)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._open or mine not in self.running, 30)
            self.running = [one for one in self.running if one is not mine]
        if self.failing:
            raise RuntimeError("the pass fails as it was told to")
        return np.array([ids[:2] for ids in batch], dtype=np.float32)

    def describe(self) -> Mapping[str, str]:
        return {"backend": "streams"}

    def close(self) -> None:
        self.closed += 1
