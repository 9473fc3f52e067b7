"""Brings the answer of a call: the plan of its route, tries over targets, a plain answer or a stream of chunks."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol

import structlog

from semcache.errors import ServerExhaustedError, UpstreamError
from semcache.long_work import LongWork
from semcache.model import Answer, Mode, PassedCall, PassedReply, UpstreamCall
from semcache.ports import Clock
from semcache.protocols import FORMS
from semcache.protocols.lost import ReceivedBody
from semcache.protocols.wire import is_same_model
from semcache.settings import UpstreamSettings
from semcache.upstream.batches import Batches
from semcache.upstream.breaker import BreakerState
from semcache.upstream.finishes import UnknownFinishes
from semcache.upstream.fleet import Fleet
from semcache.upstream.modes import DegradedMode
from semcache.upstream.passage import Passage, PassageObserver
from semcache.upstream.places import Places
from semcache.upstream.relay import WholeBody, relay
from semcache.upstream.retries import Blame, blame, outcome_of
from semcache.upstream.retry_budget import RetryBudget
from semcache.upstream.routes import Destination, RoutePlan, RouteTable, models_of, without
from semcache.upstream.stream_usage import StreamUsage
from semcache.upstream.target import HttpTarget
from semcache.upstream.tries import Tries

_log = structlog.get_logger(__name__)
_MAX_SWAPS_LOGGED = 256
"""Kinds of swapped models that are logged, once each: upstreams choose the names freely."""


class UpstreamObserver(PassageObserver, Protocol):
    """Counts tries and calls: `observe.metrics.Metrics` has these methods."""

    def upstream_attempted(self, target: str, outcome: str) -> None:
        """Count a try that ended.

        Args:
            target: who was asked.
            outcome: `ok`, an HTTP status, `timeout`, `unreachable`, `broken`, `failed`, `cancelled`, or `own_failure`
                where this process had no memory or descriptors left.
        """
        ...

    def upstream_done(self, target: str, duration_s: float) -> None:
        """Count a call that ended, with the seconds of all its tries; `target` was asked last."""
        ...

    def upstream_swapped(self, target: str) -> None:
        """Count an answer that names another model than was asked for."""
        ...

    def breaker_changed(self, target: str, state: int) -> None:
        """Set a target's breaker: closed (0), half open (1) or open (2). Each target's is set at the start too."""
        ...

    def degraded_changed(self, reason: str) -> None:
        """Set the reason of the degraded mode; empty when the mode is off."""
        ...


class HttpUpstream:
    """`ports.Upstream` over HTTP.

    Args:
        settings: targets, routes and limits.
        clock: the deadlines of calls are in its monotonic seconds.
        observer: counts each try and each call, and every change of a breaker or of the mode; None: nothing does.
        answer_bytes: the size of the largest answer that is read.
        max_wait_s: the longest wait for a place at a target, seconds.
        fair: whether tenants share the places at a target.
        rng: draws targets by their weight, and the jitter.
        sleep: waits between tries.
        environ: the variables that `api_key_env` names; None: the process's environment.
        long_work: reads long answers; None: a thread of its own does.

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
        max_wait_s: float = 1.0,
        fair: bool = True,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        environ: Mapping[str, str] | None = None,
        long_work: LongWork | None = None,
    ) -> None:
        self._long_work = long_work or LongWork()
        self._retry = settings.retry
        self._clock = clock
        self._observer = observer
        self._rng = rng or random.Random()  # noqa: S311 - jitter and weights guard nothing
        self._sleep = sleep
        self._routes = RouteTable(settings)
        self._budget = RetryBudget(settings.retry)
        self._fleet = Fleet((target.name for target in settings.targets), settings.breaker, self._breaker_changed)
        self._mode = DegradedMode(settings.degraded, self._mode_changed)
        self._swaps: set[tuple[str, str, str]] = set()
        self._finishes = UnknownFinishes()
        self._targets = {
            target.name: HttpTarget(
                target, clock, answer_bytes=answer_bytes, environ=os.environ if environ is None else environ
            )
            for target in settings.targets
        }
        self._places = {
            target.name: Places(
                target.name, target.max_connections, max_wait_s=max_wait_s, monotonic=clock.monotonic, fair=fair
            )
            for target in settings.targets
        }
        self._batches = Batches(self._complete, self._long_work)
        self._streams = {name: StreamUsage(target, clock) for name, target in self._targets.items()}
        self._passage = Passage(
            self._routes,
            self._targets,
            self._places,
            make_tries=self._make_tries,
            clock=clock,
            sleep=sleep,
            observer=observer,
        )
        if observer is not None:
            for name in self._targets:
                observer.breaker_changed(name, BreakerState.CLOSED)

    def models(self, alias: str) -> frozenset[str] | None:
        """Return the models that an alias's targets run now, without degraded ones; None when no route serves it."""
        return self._routes.models(alias)

    def candidates(
        self, alias: str, *, task_type: str = "", complexity: str = "", degraded: bool = False
    ) -> tuple[str, ...]:
        """Return the models that such a call could be sent to, the likeliest first; empty when nothing routes it."""
        return models_of(self._routes.plan(alias, task_type, complexity, degraded=degraded or self._prefers_mini()))

    def targets_of(self, model: str) -> frozenset[str]:
        """Return the names of the targets that may be asked for a model, for whichever alias."""
        return self._routes.targets_of(model)

    @property
    def mode(self) -> Mode:
        """The degraded mode now."""
        return self._mode.current(self._clock.monotonic())

    def press_budget(self, *, pressed: bool) -> None:
        """Report that a budget is used up, or that none is any more: a condition of the degraded mode."""
        self._mode.press_budget(self._clock.monotonic(), pressed=pressed)

    async def complete(self, call: UpstreamCall) -> Answer:
        """Return one whole answer.

        Raises:
            UnknownModelError: no route serves the alias.
            OverLimitError: `call.barred` leaves no model.
            InvalidRequestError: the body is no JSON object.
            UpstreamRefusedError, UpstreamTimedOutError, UpstreamError: the last try's failure, or UPSTREAM_UNAVAILABLE.
            OverloadedError: there is no place at the target within `max_wait_s`, or this process has run out of memory
                or descriptors.
        """
        return await (self._batches.complete(call) if call.batch else self._complete(call))

    async def _complete(self, call: UpstreamCall) -> Answer:
        tries = self._tries(call)
        with self._timed(tries, call) as started_s:
            while True:
                place = await self._next(tries, call)
                received = ReceivedBody()
                try:
                    async with self._held(place, call) as waited:
                        if waited and not tries.admits(place, self._clock.monotonic()):
                            continue
                        body = FORMS[call.protocol].edit(call.body, model=place.model, stream=False)
                        with self._attempt(tries, place, call, received) as limit_s:
                            whole = await self._targets[place.target].fetch(body, call, limit_s, received)
                            return await self._read(whole, call, place, tries, started_s)
                except UpstreamError as error:
                    self._log_failure(error, tries, call)

    async def stream(self, call: UpstreamCall) -> AsyncGenerator[bytes | Answer, None]:
        """Yield chunks as they arrive, then the whole Answer. Close the stream (`aclose`) when leaving early.

        The answer is whole when every choice has its finish reason and the stream ended with [DONE] or, without it,
        cleanly. With [DONE], a choice that has content needs no finish reason. After the first chunk nothing is tried
        again, because that chunk was passed on.

        Raises:
            The errors of `complete`, between chunks too.
        """
        tries = self._tries(call)
        with self._timed(tries, call) as started_s:
            while True:
                place = await self._next(tries, call)
                received = ReceivedBody()
                try:
                    async with self._held(place, call) as waited:
                        if waited and not tries.admits(place, self._clock.monotonic()):
                            continue
                        target = self._targets[place.target]
                        with self._attempt(tries, place, call, received) as limit_s:
                            until_s = self._clock.monotonic() + limit_s
                            async with (
                                self._streams[place.target].open(call, place.model, limit_s, received) as reply,
                                aclosing(
                                    relay(reply, target, FORMS[call.protocol], self._long_work, call.tenant)
                                ) as pieces,
                            ):
                                # The share of the time ends with the first chunk: after it no other target is tried.
                                async with target.time_limit(until_s - self._clock.monotonic(), call):
                                    piece = await anext(pieces)
                                tries.lives()
                                while not isinstance(piece, WholeBody):
                                    received.chunks.append(piece)
                                    yield piece
                                    piece = await anext(pieces)
                            answer = await self._read(piece.body, call, place, tries, started_s, flaw=piece.flaw)
                except UpstreamError as error:
                    if received.chunks:
                        raise
                    self._log_failure(error, tries, call)
                else:
                    yield answer
                    return

    def pass_on(self, call: PassedCall) -> AbstractAsyncContextManager[PassedReply]:
        """Return the context of a call that is passed to a target as it came (`Passage`)."""
        return self._passage.pass_on(call)

    async def close(self) -> None:
        """Close the connections."""
        for target in self._targets.values():
            await target.close()

    def _prefers_mini(self) -> bool:
        return "mini_model" in self.mode.measures

    def _tries(self, call: UpstreamCall) -> Tries:
        degraded = call.degraded or self._prefers_mini()
        plan = self._routes.resolve(call.alias, call.task_type, call.complexity, degraded=degraded)
        spoken = self._routes.speaking(plan, call.alias, call.protocol)
        return self._make_tries(without(spoken, call.barred), call.deadline_s, optional=call.optional)

    def _make_tries(self, plan: RoutePlan, deadline_s: float, *, optional: bool = False) -> Tries:
        return Tries(
            plan,
            deadline_s,
            fleet=self._fleet,
            budget=self._budget,
            settings=self._retry,
            rng=self._rng,
            optional=optional,
        )

    async def _next(self, tries: Tries, call: UpstreamCall) -> Destination:
        """Return the destination to ask next, after its wait.

        Raises:
            UpstreamError: there is no other; the error that the call fails with.
        """
        while True:
            step = tries.next(self._clock.monotonic())
            if step.wait_s:
                await self._sleep(step.wait_s)
            if not step.wait_s or tries.admits(step.destination, self._clock.monotonic()):
                if tries.made:
                    target, wait_s = step.destination.target, round(step.wait_s, 3)
                    _log.info("upstream.retrying", request_id=call.request_id, target=target, wait_s=wait_s)
                return step.destination

    def _held(self, place: Destination, call: UpstreamCall) -> AbstractAsyncContextManager[bool]:
        """Return the context in which the call holds a place at a target; entering it says whether the call waited."""
        return self._places[place.target].held(call.tenant, call.deadline_s - self._clock.monotonic())

    async def _read(
        self, body: bytes, call: UpstreamCall, place: Destination, tries: Tries, started_s: float, *, flaw: str = ""
    ) -> Answer:
        """Return what a body says, and note its finish reason and its model. A long one is read on another thread."""
        read = partial(FORMS[call.protocol].read, body, target_model=place.model)
        answer = await self._long_work.run_if_long(call.tenant, len(body), read)
        answer = replace(
            answer,
            target_model=place.model,
            route=place.target,
            degraded=place.degraded,
            latency_s=self._clock.monotonic() - started_s,
            attempts=tries.made,
            flaw=flaw or answer.flaw,
        )
        self._finishes.note(place.target, answer.finish_reason)
        if not is_same_model(place.model, answer.model):
            self._swapped(place, answer.model)
        return answer

    @contextmanager
    def _timed(self, tries: Tries, call: UpstreamCall) -> Iterator[float]:
        """Measure a call for the observer and the degraded mode. A call that is abandoned isn't measured."""
        started_s = self._clock.monotonic()
        failed: bool | None = None
        try:
            yield started_s
            failed = False
        except UpstreamError as error:
            failed = None if blame(error) is Blame.REQUEST else True
            raise
        finally:
            now_s = self._clock.monotonic()
            if failed is not None and not call.optional:
                self._mode.observe(now_s, now_s - started_s, failed=failed)
            if self._observer is not None and tries.last is not None:
                self._observer.upstream_done(tries.last.target, now_s - started_s)

    @contextmanager
    def _attempt(self, tries: Tries, place: Destination, call: UpstreamCall, received: ReceivedBody) -> Iterator[float]:
        """Make one try: yields the seconds it may take, and reports its end to the breaker and the observer.

        What came of an answer that can't be used is noted with the call, since it is charged.
        """
        limit_s = tries.begin(place, self._clock.monotonic())
        outcome = ""
        try:
            yield limit_s
            outcome = "ok"
            tries.succeeded(self._clock.monotonic())
        except UpstreamError as error:
            outcome = outcome_of(error)
            tries.failed(error, self._clock.monotonic())
            raise
        except (ServerExhaustedError, MemoryError):  # Not the target's fault: the try counts as given up.
            outcome = "own_failure"
            tries.abandoned()
            raise
        finally:
            if not outcome:
                tries.abandoned()
            if outcome != "ok" and (lost := FORMS[call.protocol].lost(received, place.model)) is not None:
                call.lost.append(replace(lost, route=place.target, degraded=place.degraded))
            if self._observer is not None:
                self._observer.upstream_attempted(place.target, outcome or "cancelled")

    def _log_failure(self, error: UpstreamError, tries: Tries, call: UpstreamCall) -> None:
        _log.info(
            "upstream.try_failed",
            target=tries.last.target if tries.last is not None else "",
            request_id=call.request_id,
            tries=tries.made,
            reason=error.reason,
            http_status=error.http_status,
        )

    def _swapped(self, place: Destination, answered: str) -> None:
        """Count a swapped model, and log each kind once: a deployment with a name of its own is one at every call."""
        if self._observer is not None:
            self._observer.upstream_swapped(place.target)
        swap = (place.target, place.model, answered)
        if swap not in self._swaps and len(self._swaps) < _MAX_SWAPS_LOGGED:
            self._swaps.add(swap)
            _log.warning("upstream.other_model", target=place.target, asked=place.model, answered=answered[:200])

    def _breaker_changed(self, target: str, before: BreakerState, state: BreakerState) -> None:
        _log.warning("upstream.breaker_changed", target=target, state=state.name.lower(), before=before.name.lower())
        if self._observer is not None:
            self._observer.breaker_changed(target, state)

    def _mode_changed(self, before: Mode, mode: Mode) -> None:
        _log.warning("upstream.mode_changed", active=mode.active, reason=mode.reason or before.reason)
        if self._observer is not None:
            self._observer.degraded_changed(mode.reason)
