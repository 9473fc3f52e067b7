"""The threads that own the device: token ids in, one-shot replies out, what queued meanwhile is the next batch."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import structlog
from numpy.typing import NDArray

from semcache.embedding.backend import Backend
from semcache.embedding.batching import BatchRule, is_full, next_batch, share
from semcache.errors import EmbeddingFailedError, OverloadedError, ShuttingDownError

_log = structlog.get_logger(__name__)

OnBatch = Callable[[int, float], None]
"""Called from a device thread after each forward pass with its texts and its seconds."""

_SMALLER = 8
"""How much smaller small batches are: 4 texts of 32."""
_PATIENCE = 4
"""How long a stream waits for company, in times of a pass's own cost: 4 ms with AMX. Against 0, ½ and 1, on two cores,
it's the best or no worse with 2, 4, 8, 16 and 64 callers."""
_MOST_PATIENCE_S = 0.01
"""Where a device is slow or has hung."""
_SOONER_S = 0.001
"""What a stream isn't woken for."""
_TEXT_S = 0.0015
"""Up to here the tokens of a text take a stream little longer than the text takes everything else. Measured on two
cores with 64 callers: of texts of 14 tokens (0.8 ms) a stream alone lets a quarter to a third more through, of 33 as
much as two do, of 52 (2.7 ms) a tenth less; in fp32 (14 tokens: 2 ms) a quarter less."""
_SHORT_TEXTS = 32
"""A full batch of such texts, whatever a device takes at most."""
_SOON = 0.75
"""How much of such a batch may still be to do, for others to be left to who computes it: 36 ms. With half as much 64
callers lose a twelfth, since full batches take 20 to 30 ms."""


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
    """What one turn of a device thread has for one event loop, delivered by one wake-up."""

    done: list[_Job] = field(default_factory=list)
    failed: list[tuple[_Job, EmbeddingFailedError]] = field(default_factory=list)
    freed: int = 0


_AllReplies = defaultdict[asyncio.AbstractEventLoop, _Replies]


class DeviceThreads:
    """Runs `backend`, each of its streams on a thread of its own. `submit` is called on an event loop.

    Whichever is free takes the next batch from all that waits, or an even share of it while others are free too. The
    event loop works on one's answers while the others compute. Against streams that take the halves of one batch and
    wait for each other: 64 callers on two cores get a third more texts of mixed lengths embedded (measured with AMX).

    While others compute, a free stream leaves short texts to them: one stream embeds those as fast as the event loop
    can ask for them, in fewer and larger batches, and the core is the event loop's. Of longer ones, it waits for
    moments when it finds little, until there is more or the others are done: passes of four texts instead of sixteen
    cost a third more a text. A text that finds no pass under way never waits.

    Args:
        backend: used by these threads alone.
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
        self._lock = threading.Lock()  # held for moments, over what the threads and the event loop share:
        self._wakes = [threading.Condition(self._lock) for _ in range(backend.streams)]
        self._waiting: list[_Text] = []
        self._tokens = 0  # of what waits
        self._waiting_since = 0.0
        self._open = backend.streams
        self._sleep_until: dict[int, float] = {}  # when free streams look again by themselves
        self._ends_s: dict[int, float] = {}  # when the passes should be over, by the streams that compute
        self._left_to_others = False  # what waits is the others' share of what a stream took its own from
        self._ending = False
        self._text_s, self._token_s = 0.002, 0.0001  # guesses until the first batch; the event loop reads one
        self._depth = 0  # the event loop's own, as is what follows
        self._gathered: list[_Text] = []
        self._closing = False
        self._threads = [
            threading.Thread(target=self._run, args=(stream,), name=f"semcache-embedding-{stream}", daemon=True)
            for stream in range(backend.streams)
        ]
        for thread in self._threads:
            thread.start()

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
                retry_after_s=max(0.05, self._depth * self._text_s / len(self._threads)),
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
        texts, self._gathered = self._gathered, []
        if not texts:
            return
        with self._lock:
            if not self._waiting:
                self._waiting_since = time.monotonic()
            self._waiting.extend(texts)
            self._tokens += _tokens_of(texts)
            self._wake_one()

    async def close(self, patience_s: float = 30.0) -> None:
        """Computes what has queued, ends the threads, closes the backend; leaves a hung device after `patience_s`."""
        if not self._closing:
            self._closing = True
            self._hand_over()
            with self._lock:
                self._ending = True
                for wake in self._wakes:
                    wake.notify()
        ends = time.monotonic() + patience_s
        for thread in self._threads:
            await asyncio.to_thread(thread.join, max(0.0, ends - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            _log.warning("embedding_device_hangs", patience_s=patience_s, effect="its thread is left behind")

    # What follows runs on the device threads.

    def _run(self, stream: int) -> None:
        last = False
        while True:
            replies: _AllReplies = defaultdict(_Replies)
            with self._lock:
                batch = self._next(stream, replies)
            if batch:
                self._compute(stream, batch, replies)
            for loop, reply in replies.items():
                self._send(loop, reply)
            with self._lock:
                if batch:
                    del self._ends_s[stream]
                elif self._ending and not self._waiting:
                    self._open -= 1
                    last = self._open == 0
                    break
        if last:
            self._backend.close()

    # The lock is held from here to `_drop`, but while `_next` waits.

    def _next(self, stream: int, replies: _AllReplies) -> list[_Text]:
        """Waits until this stream should start and takes a batch; none when all had left or the end has come."""
        while (wait_s := self._wait_s()) != 0:
            self._sleep_until[stream] = math.inf if wait_s is None else time.monotonic() + wait_s
            self._wakes[stream].wait(wait_s)
            del self._sleep_until[stream]
        self._drop(lambda text: text.job.future.done(), replies)
        if not self._waiting:
            return []
        rule, texts, tokens = self._rule, len(self._waiting), self._tokens
        streams = 1 if self._one_keeps_up() else len(self._free)
        rule = replace(rule, max_texts=share(texts, tokens, rule, streams))
        positions = next_batch([len(text.ids) for text in self._waiting], rule)
        batch = [self._waiting[position] for position in positions]
        taken = set(positions)
        self._waiting = [text for position, text in enumerate(self._waiting) if position not in taken]
        taken_tokens = _tokens_of(batch)
        self._tokens -= taken_tokens
        self._waiting_since = time.monotonic()
        self._ends_s[stream] = self._waiting_since + (taken_tokens + rule.pass_tokens) * self._token_s
        self._left_to_others = streams > 1 and bool(self._waiting)
        self._wake_one()
        return batch

    @property
    def _free(self) -> Sequence[int]:
        """Streams that compute nothing, in order."""
        return [stream for stream in range(len(self._wakes)) if stream not in self._ends_s]

    def _wake_one(self) -> None:
        """Wakes a free stream that should start, or look again sooner: the first, whose memory is still in a cache."""
        free, wait_s = self._free, self._wait_s()
        if not free or wait_s is None:
            return
        until = time.monotonic() + wait_s
        if wait_s == 0 or until < min(self._sleep_until.values(), default=math.inf) - _SOONER_S:
            self._wakes[free[0]].notify()

    def _wait_s(self) -> float | None:
        """How long a free stream leaves what waits to others, which may be done first; None: until it is woken."""
        if self._ending:
            return 0
        if not self._waiting:
            return None
        if not self._ends_s or self._left_to_others:
            return 0
        rule = self._rule
        if self._one_keeps_up():
            patience_s = self._batch_s
        elif is_full(len(self._waiting), self._tokens, rule):
            return 0
        else:
            patience_s = min(_MOST_PATIENCE_S, _PATIENCE * rule.pass_tokens * self._token_s)
        return max(0, self._waiting_since + patience_s - time.monotonic())

    @property
    def _batch_s(self) -> float:
        """What a full batch of short texts may take."""
        return min(self._rule.max_texts, _SHORT_TEXTS) * _TEXT_S

    def _one_keeps_up(self) -> bool:
        """Whether one stream embeds what waits as fast as the event loop can ask for it, and can begin soon."""
        if self._tokens * self._token_s > len(self._waiting) * _TEXT_S:
            return False
        now_s, batch_s = time.monotonic(), self._batch_s
        left_s = [end_s - now_s for end_s in self._ends_s.values()]
        # One that is overdue by so much hangs, and is nobody to leave a text to.
        return not left_s or any(-batch_s < left < batch_s * _SOON for left in left_s)

    def _drop(self, gone: Callable[[_Text], bool], replies: _AllReplies) -> None:
        """Forgets the waiting texts that are of no more use."""
        kept = []
        for text in self._waiting:
            if gone(text):
                self._tokens -= len(text.ids)
                replies[text.job.loop].freed += 1
            else:
                kept.append(text)
        self._waiting = kept
        self._left_to_others = self._left_to_others and bool(kept)

    def _compute(self, stream: int, batch: list[_Text], replies: _AllReplies) -> None:
        started = self._monotonic()
        try:
            vectors = self._backend.forward([text.ids for text in batch], stream)
            if vectors.shape != (len(batch), self._dimension):
                raise ValueError(f"the backend gave shape {vectors.shape} for {len(batch)} texts")
            if not np.isfinite(vectors).all():
                raise ValueError("the backend gave vectors that are not finite")
        except Exception as error:  # noqa: BLE001 - whatever it was, every waiter hears of it
            self._fail(batch, error, replies)
            _tell_of_exception("embedding_batch_failed", texts=len(batch))
            return
        seconds = self._monotonic() - started
        self._fill(batch, vectors, seconds, replies)
        if self._on_batch is not None:
            try:
                self._on_batch(len(batch), seconds)
            except Exception:  # noqa: BLE001 - an observer's defect is not the callers'
                _tell_of_exception("embedding_observer_failed")

    def _fill(
        self,
        batch: list[_Text],
        vectors: NDArray[np.float32],
        seconds: float,
        replies: _AllReplies,
    ) -> None:
        with self._lock:
            for text, vector in zip(batch, vectors, strict=True):
                job = text.job
                reply = replies[job.loop]
                reply.freed += 1
                job.vectors[text.row] = vector
                job.missing -= 1
                if job.missing == 0:
                    reply.done.append(job)
            tokens = _tokens_of(batch) + self._rule.pass_tokens
            self._text_s += 0.1 * (seconds / len(batch) - self._text_s)
            self._token_s += 0.1 * (seconds / tokens - self._token_s)

    def _fail(self, batch: list[_Text], cause: Exception, replies: _AllReplies) -> None:
        """Answers every job of the batch; the rest of such a job's texts is of no more use."""
        jobs = {text.job for text in batch}
        for text in batch:
            replies[text.job.loop].freed += 1
        with self._lock:
            self._drop(lambda text: text.job in jobs, replies)
        for job in jobs:
            error = EmbeddingFailedError(
                f"the embedding model failed on a batch of {len(batch)}: {type(cause).__name__}: {cause}",
                hint="The request can be sent again; the server's log has the trace.",
            )
            error.__cause__ = cause
            replies[job.loop].failed.append((job, error))

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


def _tokens_of(texts: Sequence[_Text]) -> int:
    return sum(len(text.ids) for text in texts)


def _tell_of_exception(event: str, **fields: object) -> None:
    with suppress(OSError, ValueError):  # a log that is closed takes no stream along, and no caller
        _log.exception(event, **fields)
