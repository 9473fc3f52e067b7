"""The one thread that owns the device: token ids in, one-shot replies out, what queued meanwhile is the next batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue

import numpy as np
import structlog
from numpy.typing import NDArray

from semcache.embedding.backend import Backend
from semcache.embedding.batching import BatchRule, next_batch
from semcache.errors import EmbeddingFailedError, OverloadedError, ShuttingDownError

_log = structlog.get_logger(__name__)

OnBatch = Callable[[int, float], None]
"""Called from the device thread after each forward pass with its texts and its seconds."""


_SMALLER = 8
"""How much smaller small batches are: 4 texts of 32."""


@dataclass(slots=True, eq=False)
class _Job:
    """One call: its texts may be spread over several batches, its future is answered once."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[NDArray[np.float32]]
    vectors: NDArray[np.float32]
    missing: int


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    job: _Job
    row: int
    ids: Sequence[int]


@dataclass(slots=True)
class _Replies:
    """What one turn of the device thread has for one event loop, delivered by one wake-up."""

    done: list[_Job] = field(default_factory=list)
    failed: list[tuple[_Job, EmbeddingFailedError]] = field(default_factory=list)
    freed: int = 0


class DeviceThread:
    """Runs `backend` on a thread of its own. `submit` is called on an event loop.

    Args:
        backend: used by the thread alone.
        dimension: length of a vector.
        rule: how to batch.
        max_queue: texts waiting or being computed; beyond it `submit` refuses.
        monotonic: seconds, for those given to `on_batch`.
        on_batch: see OnBatch; what it raises is logged and otherwise ignored.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        dimension: int,
        rule: BatchRule,
        max_queue: int,
        monotonic: Callable[[], float],
        on_batch: OnBatch | None = None,
    ) -> None:
        self._backend = backend
        self._dimension = dimension
        self._rules = {False: rule, True: replace(rule, max_texts=max(1, rule.max_texts // _SMALLER))}
        self._rule = rule
        self._max_queue = max_queue
        self._monotonic = monotonic
        self._on_batch = on_batch
        self._inbox: SimpleQueue[list[_Text] | None] = SimpleQueue()
        self._waiting: list[_Text] = []  # the thread's own
        self._depth = 0  # the event loop's own, as is what follows
        self._gathered: list[_Text] = []
        self._text_s = 0.002  # a guess until the first batch; read by the event loop, written by the thread
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="semcache-embedding", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Texts waiting or being computed."""
        return self._depth

    def keep_batches_small(self, *, small: bool) -> None:
        """From the next batch on an eighth of the texts at once, or all that the rule allows again."""
        self._rule = self._rules[small]

    async def submit(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Vectors (len(texts), dimension) of token ids, in order. A caller who is cancelled is skipped.

        Raises:
            OverloadedError: more would wait than `max_queue`.
            EmbeddingFailedError: the backend failed on a batch that held one of these texts.
            ShuttingDownError: `close` was called.
        """
        if self._closing:
            raise ShuttingDownError("the embedder is closing and takes no more texts")
        if self._depth + len(texts) > self._max_queue:
            raise OverloadedError(
                f"{self._depth} texts wait for their embedding and embedding.max_queue is {self._max_queue}",
                retry_after_s=max(0.05, self._depth * self._text_s),
                hint="Try again later, with fewer texts in one call, or raise the limit.",
            )
        loop = asyncio.get_running_loop()
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        if not texts:
            return vectors
        job = _Job(loop=loop, future=loop.create_future(), vectors=vectors, missing=len(texts))
        self._depth += len(texts)
        # Those of one turn of the loop go together: each alone would wake the thread.
        if not self._gathered:
            loop.call_soon(self._hand_over)
        self._gathered.extend(_Text(job, row, ids) for row, ids in enumerate(texts))
        return await job.future

    def _hand_over(self) -> None:
        if self._gathered:
            self._inbox.put(self._gathered)
            self._gathered = []

    async def close(self, patience_s: float = 30.0) -> None:
        """Computes what has queued, ends the thread and closes the backend; leaves a hung device after `patience_s`."""
        if not self._closing:
            self._closing = True
            self._hand_over()
            self._inbox.put(None)
        await asyncio.to_thread(self._thread.join, patience_s)
        if self._thread.is_alive():
            _log.warning("embedding_device_hangs", patience_s=patience_s, effect="its thread is left behind")

    def _run(self) -> None:
        closing = False
        while not closing or self._waiting:
            closing = self._receive() or closing
            replies: dict[asyncio.AbstractEventLoop, _Replies] = {}
            self._drop_abandoned(replies)
            if self._waiting:
                self._compute(replies)
            for loop, reply in replies.items():
                self._send(loop, reply)
        self._backend.close()

    def _receive(self) -> bool:
        """Takes all that has queued, waiting only when there is nothing to do; True once closing was asked for."""
        closing = False
        try:
            message = self._inbox.get(block=not self._waiting)
            while True:
                if message is None:
                    closing = True
                else:
                    self._waiting.extend(message)
                message = self._inbox.get_nowait()
        except Empty:
            return closing

    def _drop_abandoned(self, replies: dict[asyncio.AbstractEventLoop, _Replies]) -> None:
        if not any(text.job.future.done() for text in self._waiting):
            return
        kept = []
        for text in self._waiting:
            if text.job.future.done():
                replies.setdefault(text.job.loop, _Replies()).freed += 1
            else:
                kept.append(text)
        self._waiting = kept

    def _compute(self, replies: dict[asyncio.AbstractEventLoop, _Replies]) -> None:
        positions = next_batch([len(text.ids) for text in self._waiting], self._rule)
        batch = [self._waiting[position] for position in positions]
        taken = set(positions)
        self._waiting = [text for position, text in enumerate(self._waiting) if position not in taken]
        started = self._monotonic()
        try:
            vectors = self._backend.forward([text.ids for text in batch])
            if vectors.shape != (len(batch), self._dimension):
                raise ValueError(f"the backend gave shape {vectors.shape} for {len(batch)} texts")
            if not np.isfinite(vectors).all():
                raise ValueError("the backend gave vectors that are not finite")
        except Exception as error:  # noqa: BLE001 - whatever it was, every waiter hears of it
            _log.exception("embedding_batch_failed", texts=len(batch))
            self._fail(batch, error, replies)
            return
        self._fill(batch, vectors, replies)
        seconds = self._monotonic() - started
        self._text_s += 0.1 * (seconds / len(batch) - self._text_s)
        if self._on_batch is not None:
            try:
                self._on_batch(len(batch), seconds)
            except Exception:  # noqa: BLE001 - an observer's defect is not the callers'
                _log.exception("embedding_observer_failed")

    def _fill(
        self, batch: list[_Text], vectors: NDArray[np.float32], replies: dict[asyncio.AbstractEventLoop, _Replies]
    ) -> None:
        for text, vector in zip(batch, vectors, strict=True):
            job = text.job
            reply = replies.setdefault(job.loop, _Replies())
            reply.freed += 1
            job.vectors[text.row] = vector
            job.missing -= 1
            if job.missing == 0:
                reply.done.append(job)

    def _fail(self, batch: list[_Text], cause: Exception, replies: dict[asyncio.AbstractEventLoop, _Replies]) -> None:
        """Answers every job of the batch; the rest of such a job's texts is of no more use."""
        jobs = {text.job for text in batch}
        for text in batch:
            replies.setdefault(text.job.loop, _Replies()).freed += 1
        kept = []
        for text in self._waiting:
            if text.job in jobs:
                replies.setdefault(text.job.loop, _Replies()).freed += 1
            else:
                kept.append(text)
        self._waiting = kept
        for job in jobs:
            error = EmbeddingFailedError(
                f"the embedding model failed on a batch of {len(batch)}: {type(cause).__name__}: {cause}",
                hint="The request can be sent again; the server's log has the trace.",
            )
            error.__cause__ = cause
            replies.setdefault(job.loop, _Replies()).failed.append((job, error))

    def _send(self, loop: asyncio.AbstractEventLoop, reply: _Replies) -> None:
        try:
            loop.call_soon_threadsafe(self._deliver, reply)
        except RuntimeError:  # the loop is closed, and with it all who waited
            self._depth -= reply.freed
            _log.debug("embedding_callers_gone", jobs=len(reply.done) + len(reply.failed))

    def _deliver(self, reply: _Replies) -> None:
        """On the event loop."""
        self._depth -= reply.freed
        for job in reply.done:
            if not job.future.done():
                job.future.set_result(job.vectors)
        for job, error in reply.failed:
            if not job.future.done():
                job.future.set_exception(error)
