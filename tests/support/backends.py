"""Backends that do what a test tells them to, one step at a time."""

import asyncio
import threading
from collections.abc import Mapping, Sequence

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

    def forward(self, batch: Sequence[Sequence[int]]) -> np.ndarray:
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
