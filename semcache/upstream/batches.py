"""Sends calls that belong together as one call of the upstream, and divides its answer.

A program embeds hundreds of texts by one call. Each of them is a request of its own in the cache, with its own key and
its own line in the ledger. Those that miss would be as many upstream calls; here they become one again.

1. The first call of a batch opens it, and starts the task that will send it.
2. Others of the same batch join while it is open. Calls that may be sent to different models are of different groups.
3. The task waits until no other call has joined for `_PAUSE_S`. Then it closes the batch, and asks.
4. The answer is divided, and each call gets its part. A failure is every call's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

from semcache.errors import UpstreamError
from semcache.long_work import LongWork
from semcache.model import Answer, LostAnswer, UpstreamCall, Usage
from semcache.protocols.embeddings import divide, joined_body

_PAUSE_S = 0.002
"""How long a batch waits for another call. All of them come from one request, so they come in one turn of the loop."""
_GroupKey = tuple[str, str, frozenset[str], str, str, bool]


@dataclass(eq=False, slots=True)
class _OpenBatch:
    """Calls that wait to be sent together, the futures of their answers, how many have been cancelled, and the task."""

    calls: list[UpstreamCall] = field(default_factory=list)
    left: int = 0
    task: asyncio.Task[None] | None = None
    answers: list[asyncio.Future[Answer]] = field(default_factory=list)


class Batches:
    """Groups calls by their batch.

    Args:
        ask: sends one call.
        long_work: divides long answers.
    """

    def __init__(self, ask: Callable[[UpstreamCall], Awaitable[Answer]], long_work: LongWork) -> None:
        self._ask = ask
        self._long_work = long_work
        self._open: dict[_GroupKey, _OpenBatch] = {}

    async def complete(self, call: UpstreamCall) -> Answer:
        """Return a call's part of the answer to its batch.

        Raises:
            SemcacheError: the failure of the batch's call.
        """
        loop = asyncio.get_running_loop()
        key = (call.batch, call.alias, call.barred, call.task_type, call.complexity, call.degraded)
        batch = self._open.get(key)
        if batch is None:
            batch = self._open[key] = _OpenBatch()
            batch.task = loop.create_task(self._send(key, batch))
        answer: asyncio.Future[Answer] = loop.create_future()
        batch.calls.append(call)
        batch.answers.append(answer)
        assert batch.task is not None
        try:
            return await answer
        except asyncio.CancelledError:
            batch.left += 1
            if batch.left == len(batch.calls):
                batch.task.cancel()
            if not batch.task.done():  # Only then is it known what the call has lost, which its caller books.
                await asyncio.wait({batch.task})
            raise

    async def _send(self, key: _GroupKey, batch: _OpenBatch) -> None:
        joined = 0
        try:
            while len(batch.calls) > joined:
                joined = len(batch.calls)
                await asyncio.sleep(_PAUSE_S)
        finally:
            del self._open[key]
        try:
            answers = await self._answers(batch.calls)
        except BaseException as error:
            for waiting in batch.answers:
                if not waiting.done():
                    waiting.set_exception(error)
                    waiting.exception()  # A call that nobody waits for any more is no unread failure.
            if not isinstance(error, Exception):
                raise
            return
        for waiting, answer in zip(batch.answers, answers, strict=True):
            if not waiting.done():
                waiting.set_result(answer)

    async def _answers(self, calls: list[UpstreamCall]) -> list[Answer]:
        if len(calls) == 1:
            return [await self._ask(calls[0])]
        body, sizes = joined_body([call.body for call in calls])
        lost: list[LostAnswer] = []
        whole = replace(calls[0], body=body, deadline_s=min(call.deadline_s for call in calls), lost=lost)
        try:
            answer = await self._ask(whole)
            try:
                parts = partial(divide, answer, sizes)
                return await self._long_work.run_if_long(whole.tenant, len(answer.body), parts)
            except UpstreamError:
                model, route = answer.target_model, answer.route
                lost.append(LostAnswer(answer.model, Usage(estimated=True), target_model=model, route=route))
                raise
        finally:
            for call in calls:  # Each books the input that it knows, which is its own.
                call.lost.extend(lost)
