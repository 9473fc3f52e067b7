"""The queue before the device: it takes callers' texts, gives lanes the planned batches, and answers each call once."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import structlog
from numpy.typing import NDArray

from semcache.embedding.scheduling import BatchRule, Running, Start, Step, Until, Waiting, plan
from semcache.errors import EmbeddingFailedError, OverloadedError, ShuttingDownError

_log = structlog.get_logger(__name__)

Planner = Callable[[float, Waiting, Running, BatchRule], Step]
"""As `semcache.embedding.scheduling.plan`."""

_SMALL_DIVISOR = 8
"""Small batches have an eighth of the texts (4 of 32), as docs/routing.md says of `smaller_batches`."""
_NEWEST_WEIGHT = 0.1
"""Weight of the newest pass in the averages of what a text and a token take."""
_MOST_OF_AVERAGE = 2.0
"""How many times the average a pass may count: one that the machine held up must not make calls be refused after it."""


@dataclass(slots=True, eq=False)
class Job:
    """One call of `submit`. Its texts may be spread over several batches; its future is answered once.

    Attributes:
        loop: the caller's event loop.
        future: what the caller awaits.
        vectors: (texts, dimension); rows are filled as their batches end.
        missing: rows that aren't filled yet.
    """

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[NDArray[np.float32]]
    vectors: NDArray[np.float32]
    missing: int


Answer = tuple[Job, EmbeddingFailedError | None]
"""A job, and the error that ends it; None where its vectors are complete."""


@dataclass(frozen=True, slots=True, eq=False)
class WaitingText:
    """One text of a job: the row of its vector in `job.vectors`, and its token ids."""

    job: Job
    row: int
    ids: Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Texts of one forward pass.

    Attributes:
        texts: oldest first.
        tokens: theirs together, without padding.
        end_s: monotonic seconds when the pass is expected to end.
    """

    texts: Sequence[WaitingText]
    tokens: int
    end_s: float


class TextQueue:
    """Holds the texts that wait and knows which batches the lanes compute.

    `submit` and `close` run on event loops, `take`, `answer` and `fail` on the lanes. One lock guards what they share,
    and is held for a plan or for handing over vectors, never during a pass.

    Args:
        dimension: length of a vector.
        rule: the device's limits.
        lanes: threads that call `take`.
        max_queue: texts waiting or being computed; beyond it `submit` refuses.
        monotonic: seconds.
        max_wait_s: seconds; a call whose texts would wait longer is refused by `submit`.
        planner: returns what a free lane does; tests replace it.
    """

    def __init__(
        self,
        *,
        dimension: int,
        rule: BatchRule,
        lanes: int,
        max_queue: int,
        monotonic: Callable[[], float],
        max_wait_s: float = inf,
        planner: Planner = plan,
    ) -> None:
        self._dimension = dimension
        self._full_rule = self._rule = rule
        self._lanes = lanes
        self._max_queue = max_queue
        self._monotonic = monotonic
        self._max_wait_s = max_wait_s
        self._planner = planner
        self._changed = threading.Condition()
        self._gathered: list[WaitingText] = []  # submitted in this turn of the event loop
        self._waiting: list[WaitingText] = []
        self._since_s = 0.0
        self._ready: deque[Batch] = deque()  # planned for lanes that are about to wake
        self._running: set[Batch] = set()  # the ready ones included
        self._depth = 0
        self._tokens = 0  # of the texts that `_depth` counts
        self._gathered_tokens = 0  # of those in `_gathered`
        self._timed = 0  # lanes that wake by themselves to plan again
        self._closing = False
        self._text_s, self._token_s = 0.002, 0.0001  # guesses until the first pass has ended

    @property
    def depth(self) -> int:
        """Texts waiting or being computed."""
        return self._depth

    def expected_wait_s(self) -> float:
        """Return the seconds that a text which comes now would wait, by the tokens before it and the measured rate.

        Texts of the same turn of the event loop don't count: they go together, and the items of one batch would
        otherwise refuse each other.
        """
        return max(0, self._tokens - self._gathered_tokens) * self._token_s / self._lanes

    def keep_batches_small(self, *, small: bool) -> None:
        """From the next batch on take an eighth of the texts at once, or all that the rule allows again."""
        rule = self._full_rule
        self._rule = replace(rule, max_texts=max(1, rule.max_texts // _SMALL_DIVISOR)) if small else rule

    async def submit(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return vectors (len(texts), dimension) of token ids, in order. The texts of a cancelled caller are skipped.

        Raises:
            OverloadedError: more texts would wait than `max_queue`, or these would wait longer than `max_wait_s`.
            EmbeddingFailedError: the backend failed on a batch that held one of these texts.
            ShuttingDownError: `close` was called.
        """
        loop = asyncio.get_running_loop()
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        with self._changed:
            self._refuse(len(texts))
            if not texts:
                return vectors
            tokens = sum(map(len, texts))
            self._depth += len(texts)
            self._tokens += tokens
            self._gathered_tokens += tokens
            job = Job(loop, loop.create_future(), vectors, missing=len(texts))
            if not self._gathered:
                # Texts of one turn of the loop go together: the first alone would start a pass.
                loop.call_soon(self._hand_over)
            self._gathered.extend(WaitingText(job, row, ids) for row, ids in enumerate(texts))
        return await job.future

    def _refuse(self, texts: int) -> None:
        """Raise ShuttingDownError or OverloadedError if so many more texts can't be taken."""
        if self._closing:
            raise ShuttingDownError("the embedder is closing and takes no more texts")
        if self._depth + texts > self._max_queue:
            raise OverloadedError(
                f"{self._depth} texts wait for their embedding and embedding.max_queue is {self._max_queue}",
                retry_after_s=max(0.05, self._depth * self._text_s / self._lanes),
                hint="Try again later, with fewer texts in one call, or raise the limit.",
            )
        expected_s = self.expected_wait_s()
        if expected_s > self._max_wait_s:
            raise OverloadedError(
                f"A text would wait {expected_s:.2f} s for its embedding, and server.max_wait_s is "
                f"{self._max_wait_s:g}.",
                retry_after_s=expected_s,
                hint="Try again later, or raise the limit.",
            )

    def _hand_over(self) -> None:
        """Move the texts of this turn of the event loop to the waiting ones."""
        with self._changed:
            texts, self._gathered, self._gathered_tokens = self._gathered, [], 0
            if not self._waiting:
                self._since_s = self._monotonic()
            self._waiting += texts
            self._wake_lane()

    def close(self) -> None:
        """Take no more texts. The lanes compute those that wait, then `take` returns None."""
        self._hand_over()
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    # What follows runs on the lanes.

    def take(self, finished: Batch | None) -> Batch | None:
        """Wait until the plan has a batch for the calling lane; None when the queue is closed and empty.

        A lane that wakes plans again, because the text that it was woken for may be gone:

        1. Lane A waits, lane B computes. A text comes, and the event loop notifies A.
        2. Before A has the lock, B ends its pass, plans and takes the text.
        3. A has the lock, finds nothing to start and waits again.

        Args:
            finished: the batch that this lane has computed, if any.
        """
        with self._changed:
            if finished is not None:
                self._running.remove(finished)
            while not self._ready:
                self._forget(lambda text: text.job.future.done())
                step = self._plan()
                if isinstance(step, Start):
                    self._start(step.batches)
                elif isinstance(step, Until):
                    self._timed += 1
                    self._changed.wait(max(0.0, step.moment_s - self._monotonic()))
                    self._timed -= 1
                elif self._closing:
                    return None
                else:
                    self._changed.wait()
            batch = self._ready.popleft()
            self._wake_lane()
            return batch

    def answer(self, batch: Batch, vectors: NDArray[np.float32], seconds: float) -> None:
        """Hand the vectors (len(batch.texts), dimension) of a pass that took `seconds` to those who wait for them."""
        complete: list[Answer] = []
        with self._changed:
            self._depth -= len(batch.texts)
            self._tokens -= batch.tokens
            for text, vector in zip(batch.texts, vectors, strict=True):
                job = text.job
                job.vectors[text.row] = vector
                job.missing -= 1
                if not job.missing:
                    complete.append((job, None))
            self._text_s = _averaged(self._text_s, seconds / len(batch.texts))
            self._token_s = _averaged(self._token_s, seconds / (batch.tokens + self._rule.pass_tokens))
        _reply(complete)

    def fail(self, batch: Batch, cause: Exception) -> None:
        """Answer every call that has a text in the batch with an error, and forget the other texts of those calls."""
        jobs = {text.job for text in batch.texts}
        with self._changed:
            self._depth -= len(batch.texts)
            self._tokens -= batch.tokens
            self._forget(lambda text: text.job in jobs)
        _reply([(job, _failure(batch, cause)) for job in jobs])

    # The lock is held by those who call what follows.

    def _plan(self) -> Step:
        """Return what a free lane does now."""
        waiting = Waiting(tuple(len(text.ids) for text in self._waiting), self._since_s, self._closing)
        running = Running(self._lanes, tuple(batch.end_s for batch in self._running), self._token_s)
        return self._planner(self._monotonic(), waiting, running, self._rule)

    def _start(self, batches: Sequence[Sequence[int]]) -> None:
        """Move the planned texts to `_ready`, and wake a lane for each batch but the calling lane's own."""
        self._since_s = self._monotonic()
        for positions in batches:
            texts = [self._waiting[position] for position in positions]
            tokens = sum(len(text.ids) for text in texts)
            batch = Batch(texts, tokens, self._since_s + (tokens + self._rule.pass_tokens) * self._token_s)
            self._ready.append(batch)
            self._running.add(batch)
        taken = {position for positions in batches for position in positions}
        self._waiting = [text for position, text in enumerate(self._waiting) if position not in taken]
        self._changed.notify(len(batches) - 1)

    def _wake_lane(self) -> None:
        """Wake a lane if there is something to start, or a moment to wait for that no lane waits for."""
        step = self._plan()
        if isinstance(step, Start) or (isinstance(step, Until) and not self._timed):
            self._changed.notify()

    def _forget(self, is_useless: Callable[[WaitingText], bool]) -> None:
        """Drop the waiting texts whose vectors nobody needs any more."""
        kept = [text for text in self._waiting if not is_useless(text)]
        self._depth -= len(self._waiting) - len(kept)
        if len(kept) < len(self._waiting):
            self._tokens -= sum(len(text.ids) for text in self._waiting) - sum(len(text.ids) for text in kept)
        self._waiting = kept


def _averaged(average: float, newest: float) -> float:
    """Return the average with the newest value in it, which counts at most `_MOST_OF_AVERAGE` times the average."""
    return average + _NEWEST_WEIGHT * (min(newest, _MOST_OF_AVERAGE * average) - average)


def _failure(batch: Batch, cause: Exception) -> EmbeddingFailedError:
    """Return the error of one call that had a text in a batch on which the backend failed."""
    error = EmbeddingFailedError(
        f"the embedding model failed on a batch of {len(batch.texts)}: {type(cause).__name__}: {cause}",
        hint="The request can be sent again; the server's log has the trace.",
    )
    error.__cause__ = cause
    return error


def _reply(answers: Iterable[Answer]) -> None:
    """Send answers to the event loops of their callers, each loop woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_loop[answer[0].loop].append(answer)
    for loop, group in by_loop.items():
        try:
            loop.call_soon_threadsafe(_deliver, group)
        except RuntimeError:  # the loop is closed, and all its callers are gone
            _log.debug("embedding.callers_gone", jobs=len(group))


def _deliver(answers: Iterable[Answer]) -> None:
    """Set the futures, on their event loop; those of cancelled callers are done already."""
    for job, error in answers:
        if job.future.done():
            continue
        if error is None:
            job.future.set_result(job.vectors)
        else:
            job.future.set_exception(error)
