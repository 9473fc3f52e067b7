"""From a call to its answer: the alias's target, tries with backoff, a plain answer or a stream of chunks."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from semcache.errors import UpstreamError, UpstreamTimedOutError
from semcache.model import Answer, UpstreamCall
from semcache.ports import Clock
from semcache.settings import UpstreamSettings
from semcache.upstream.assembly import Assembler
from semcache.upstream.body import edit_body
from semcache.upstream.retries import BROKE_OFF, INCOMPLETE, UNREACHABLE, retry_delay_s
from semcache.upstream.routes import RouteTable
from semcache.upstream.sse import Event, EventParser
from semcache.upstream.target import HttpTarget, Reply
from semcache.upstream.wire import read_answer, read_json, refuse, replay_chunks

_log = structlog.get_logger(__name__)
_DONE = b"[DONE]"
_AFTER_DONE_S = 0.05
"""How long the end of a stream may follow its [DONE]: mostly they come together, and then the connection is kept."""


class UpstreamObserver(Protocol):
    """Who counts tries and measures calls."""

    def upstream_attempted(self, target: str, outcome: str) -> None:
        """One try is over: `ok`, an HTTP status, `timeout`, `unreachable`, `broken`, `failed` or `cancelled`."""
        ...

    def upstream_done(self, target: str, duration_s: float) -> None:
        """A call is over, all its tries included."""
        ...


@dataclass(frozen=True, slots=True)
class _Whole:
    """The completion behind a stream's chunks."""

    body: bytes


class HttpUpstream:
    """`ports.Upstream` over HTTP.

    Args:
        settings: targets, routes and limits.
        clock: deadlines are in its monotonic seconds.
        observer: told of each try and each call.
        answer_bytes: the largest answer that is read.
        rng: the jitter's chance.
        sleep: waits between tries.
        environ: where the keys named by `api_key_env` lie; None: the process's environment.

    Raises:
        SettingsError: a base URL or a key that can't be used.
    """

    def __init__(
        self,
        settings: UpstreamSettings,
        clock: Clock,
        *,
        observer: UpstreamObserver | None = None,
        answer_bytes: int = 16 * 1024 * 1024,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._retry = settings.retry
        self._clock = clock
        self._observer = observer
        self._rng = rng or random.Random()  # noqa: S311 - jitter guards nothing
        self._sleep = sleep
        self._routes = RouteTable(settings)
        self._targets = {
            target.name: HttpTarget(
                target, clock, answer_bytes=answer_bytes, environ=os.environ if environ is None else environ
            )
            for target in settings.targets
        }

    def models(self, alias: str) -> frozenset[str] | None:
        """The models that an alias's targets run now; None when nothing routes the alias."""
        destination = self._routes.find(alias)
        return None if destination is None else frozenset({destination.model})

    async def complete(self, call: UpstreamCall) -> Answer:
        """One whole answer.

        Raises:
            UnknownModelError: no route serves the alias.
            InvalidRequestError: the body is no JSON object.
            UpstreamRefusedError, UpstreamTimedOutError, UpstreamError: the last try's failure.
        """
        destination = self._routes.resolve(call.alias)
        target = self._targets[destination.target]
        body = edit_body(call.body, model=destination.model, stream=False)
        with self._timed(destination.target) as started_s:
            for tries in itertools.count(1):
                try:
                    with self._attempt(destination.target):
                        return read_answer(
                            await target.fetch(body, call),
                            target_model=destination.model,
                            route=destination.target,
                            latency_s=self._clock.monotonic() - started_s,
                            attempts=tries,
                        )
                except UpstreamError as error:
                    await self._before_retry(error, tries, call, destination.target)
        raise AssertionError  # pragma: no cover - the tries end by an answer or an error

    async def stream(self, call: UpstreamCall) -> AsyncGenerator[bytes | Answer, None]:
        """Chunks as they arrive, then the whole Answer. Close it (`aclose`) when leaving early.

        The answer is whole when every choice has told its finish reason and the stream ended with [DONE] or, without
        it, cleanly. After the first chunk nothing is tried again: it was passed on.

        Raises:
            As `complete`; between chunks too.
        """
        destination = self._routes.resolve(call.alias)
        target = self._targets[destination.target]
        body = edit_body(call.body, model=destination.model, stream=True)
        with self._timed(destination.target) as started_s:
            for tries in itertools.count(1):
                relayed, whole = False, b""
                try:
                    with self._attempt(destination.target):
                        async with target.open(body, call) as reply, aclosing(_relay(reply, target)) as pieces:
                            async for piece in pieces:
                                if isinstance(piece, _Whole):
                                    whole = piece.body
                                else:
                                    relayed = True
                                    yield piece
                        answer = read_answer(
                            whole,
                            target_model=destination.model,
                            route=destination.target,
                            latency_s=self._clock.monotonic() - started_s,
                            attempts=tries,
                        )
                except UpstreamError as error:
                    if relayed:
                        raise
                    await self._before_retry(error, tries, call, destination.target)
                else:
                    yield answer
                    return

    async def close(self) -> None:
        """Close the connections."""
        for target in self._targets.values():
            await target.close()

    async def _before_retry(self, error: UpstreamError, tries: int, call: UpstreamCall, target: str) -> None:
        """Wait for the next try; raises `error` when there is none."""
        remaining_s = call.deadline_s - self._clock.monotonic()
        delay_s = retry_delay_s(error, tries, remaining_s, self._retry, self._rng)
        if delay_s is None:
            raise error
        _log.info(
            "upstream_retry",
            target=target,
            request_id=call.request_id,
            tries=tries,
            delay_s=round(delay_s, 3),
            reason=error.reason,
            http_status=error.http_status,
        )
        await self._sleep(delay_s)

    @contextmanager
    def _timed(self, target: str) -> Iterator[float]:
        started_s = self._clock.monotonic()
        try:
            yield started_s
        finally:
            if self._observer is not None:
                self._observer.upstream_done(target, self._clock.monotonic() - started_s)

    @contextmanager
    def _attempt(self, target: str) -> Iterator[None]:
        outcome = "cancelled"
        try:
            yield
            outcome = "ok"
        except UpstreamError as error:
            outcome = _outcome(error)
            raise
        finally:
            if self._observer is not None:
                self._observer.upstream_attempted(target, outcome)


async def _relay(reply: Reply, target: HttpTarget) -> AsyncGenerator[bytes | _Whole, None]:
    """A reply's chunks, and last the completion that they make."""
    if not reply.is_event_stream:  # A target that can't stream: its answer in one piece.
        body = await reply.read()
        read_answer(body)
        for chunk in replay_chunks(body, include_usage=True):
            yield chunk
        yield _Whole(body)
        return
    assembler = Assembler()
    size_bytes = 0
    async with aclosing(_events(reply, target)) as events:
        async for event in events:
            size_bytes += len(event.data)
            if size_bytes > target.answer_bytes:
                raise target.too_large()
            if event.name == b"error":
                read_json(event.data, "an error event")
                refuse("an error event", event.data)
            assembler.add(event.data)
            yield event.data
    if not assembler.whole:
        raise UpstreamError(
            f"The upstream {target.settings.name!r} ended its stream before the answer was whole.",
            http_status=200,
            reason=INCOMPLETE,
        )
    yield _Whole(assembler.completion())


async def _events(reply: Reply, target: HttpTarget) -> AsyncGenerator[Event, None]:
    """The events of a stream up to [DONE] or its clean end; empty ones, which only keep a connection open, left out."""
    parser = EventParser()
    async with aclosing(reply.pieces()) as pieces:
        async for piece in pieces:
            for event in parser.feed(piece):
                data = event.data.strip()
                if data == _DONE:
                    with suppress(UpstreamError, TimeoutError):
                        async with asyncio.timeout(_AFTER_DONE_S):
                            await anext(pieces, None)
                    return
                if data:
                    yield event
            if parser.pending_bytes > target.answer_bytes:
                raise target.too_large()
    for event in parser.finish():
        data = event.data.strip()
        if data and data != _DONE:
            yield event


def _outcome(error: UpstreamError) -> str:
    if isinstance(error, UpstreamTimedOutError):
        return "timeout"
    if error.reason in {UNREACHABLE, BROKE_OFF, INCOMPLETE}:
        return "unreachable" if error.reason == UNREACHABLE else "broken"
    refused = error.http_status is not None and error.http_status >= 300
    return str(error.http_status) if refused else "failed"
