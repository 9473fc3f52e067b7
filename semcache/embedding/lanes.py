"""The lanes: threads that own the device. Each takes a batch from the queue, computes it, and answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import structlog
from numpy.typing import NDArray

from semcache.embedding.backend import Backend
from semcache.embedding.queue import Batch, TextQueue

_log = structlog.get_logger(__name__)

OnBatch = Callable[[int, float], None]
"""Called on a lane after each forward pass with its texts and its seconds."""


class Lanes:
    """Runs `backend` on one thread for each pass that it computes at the same time.

    Lanes take batches of their own. The event loop works on the answers of one while the others compute. Against
    lanes that take the halves of one batch and wait for each other, 64 callers on two cores get a third more texts of
    mixed lengths embedded (`benchmarks/README.md`).

    Args:
        backend: used by these threads alone, closed by the last of them.
        queue: where the batches come from.
        dimension: length of a vector.
        monotonic: seconds.
        on_batch: called after each pass; an exception of it is logged and otherwise ignored.
    """

    def __init__(
        self,
        backend: Backend,
        queue: TextQueue,
        *,
        dimension: int,
        monotonic: Callable[[], float],
        on_batch: OnBatch | None = None,
    ) -> None:
        self._backend = backend
        self._queue = queue
        self._dimension = dimension
        self._monotonic = monotonic
        self._on_batch = on_batch
        self._ended = threading.Lock()
        self._open = backend.lanes
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=f"semcache-embedding-{lane}", daemon=True)
            for lane in range(backend.lanes)
        ]
        for thread in self._threads:
            thread.start()

    async def close(self, patience_s: float = 30.0) -> None:
        """Close the queue, compute what waits, end the threads, close the backend.

        A device that hangs is left behind after `patience_s` seconds, with its thread and a warning.
        """
        self._queue.close()
        end_s = self._monotonic() + patience_s
        for thread in self._threads:
            await asyncio.to_thread(thread.join, max(0.0, end_s - self._monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            _log.warning("embedding.device_hangs", patience_s=patience_s, effect="its thread is left behind")

    def _run(self, lane: int) -> None:
        batch = self._queue.take(None)
        while batch is not None:
            self._compute(batch, lane)
            batch = self._queue.take(batch)
        with self._ended:
            self._open -= 1
            last = self._open == 0
        if last:
            self._backend.close()

    def _compute(self, batch: Batch, lane: int) -> None:
        started_s = self._monotonic()
        try:
            vectors = self._forward(batch, lane)
        except Exception as error:  # noqa: BLE001 - whatever it was, every caller hears of it
            self._queue.fail(batch, error)
            _log_exception("embedding.batch_failed", texts=len(batch.texts))
            return
        seconds = self._monotonic() - started_s
        self._queue.answer(batch, vectors, seconds)
        if self._on_batch is not None:
            try:
                self._on_batch(len(batch.texts), seconds)
            except Exception:  # noqa: BLE001 - an observer's defect is not the callers'
                _log_exception("embedding.observer_failed")

    def _forward(self, batch: Batch, lane: int) -> NDArray[np.float32]:
        """Return the vectors of a batch.

        Raises:
            ValueError: the backend gave another shape, or numbers that are not finite.
            Exception: the backend failed.
        """
        vectors = self._backend.forward([text.ids for text in batch.texts], lane)
        if vectors.shape != (len(batch.texts), self._dimension):
            raise ValueError(f"the backend gave shape {vectors.shape} for {len(batch.texts)} texts")
        if not np.isfinite(vectors).all():
            raise ValueError("the backend gave vectors that are not finite")
        return vectors


def _log_exception(event: str, **fields: object) -> None:
    """Log the exception being handled; a log that is closed ends no lane."""
    with suppress(OSError, ValueError):
        _log.exception(event, **fields)
