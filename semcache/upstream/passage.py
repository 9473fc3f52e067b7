"""Passes calls of unknown paths through: one target is asked once, and its answer is relayed piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Protocol

import httpx2

from semcache.errors import UnknownModelError, UpstreamError
from semcache.model import PassedCall, PassedReply
from semcache.ports import Clock
from semcache.protocols.body import with_model
from semcache.upstream.places import Places
from semcache.upstream.retries import outcome_of
from semcache.upstream.routes import Destination, RoutePlan, RouteTable
from semcache.upstream.target import HttpTarget
from semcache.upstream.tries import Tries

_OF_THE_BODY = frozenset({b"content-length", b"content-encoding"})
_RELAYED = _OF_THE_BODY | {b"content-type", b"retry-after", b"retry-after-ms"}
"""The headers of a target's answer that reach the caller. The others belong to the connection, or to the provider's
account."""


_NO_CONNECTION = (httpx2.ConnectError, httpx2.ConnectTimeout)


class PassageObserver(Protocol):
    """Counts passed calls: `observe.metrics.Metrics` has this method."""

    def call_passed(self, target: str, outcome: str) -> None:
        """Count a passed call that ended: by its HTTP status, or by a token of `upstream_attempted`."""
        ...


class Passage:
    """Passes calls through. What it sends is never tried again: only the provider knows whether that is safe.

    A target is asked only while its breaker admits it, and a call holds a place there until its answer is relayed.
    Callers choose the paths, so that a path which fails says little of the target: only a target that takes no
    connection counts against its breaker, and an answer with a status of success counts for it.

    Args:
        routes: the targets of an alias.
        targets: all targets, by name.
        places: the places at each target, by its name.
        make_tries: makes the tries over a plan until a deadline in monotonic seconds.
        clock: the deadlines of calls are in its monotonic seconds.
        sleep: waits for a target that rests.
        observer: counts each call; None: nothing does.
    """

    def __init__(
        self,
        routes: RouteTable,
        targets: Mapping[str, HttpTarget],
        places: Mapping[str, Places],
        *,
        make_tries: Callable[[RoutePlan, float], Tries],
        clock: Clock,
        sleep: Callable[[float], Awaitable[object]],
        observer: PassageObserver | None,
    ) -> None:
        self._routes = routes
        self._targets = targets
        self._places = places
        self._make_tries = make_tries
        self._clock = clock
        self._sleep = sleep
        self._observer = observer

    @asynccontextmanager
    async def pass_on(self, call: PassedCall) -> AsyncIterator[PassedReply]:
        """Ask a target, and yield its answer once the head has come; see `ports.Upstream.pass_on` for the errors."""
        tries = self._make_tries(self._plan(call.alias), call.deadline_s)
        while True:
            step = tries.next(self._clock.monotonic())
            place = step.destination
            if step.wait_s:
                await self._sleep(step.wait_s)
            async with self._places[place.target].held(
                call.tenant, call.deadline_s - self._clock.monotonic()
            ) as waited:
                if (waited or step.wait_s) and not tries.admits(place, self._clock.monotonic()):
                    continue
                async with self._answered(tries, place, call) as reply:
                    yield reply
                return

    def _plan(self, alias: str) -> RoutePlan:
        """Return the destinations that may answer.

        Raises:
            UnknownModelError: no route takes the call.
        """
        if alias:
            return self._routes.resolve(alias)
        plan = self._routes.plan("*")
        if plan:
            return plan
        if len(self._targets) == 1:
            return tuple((Destination(name, ""),) for name in self._targets)
        raise UnknownModelError(
            "The call names no model, and no route takes calls without one.",
            hint='Add a route with alias = "*", or name a model in a JSON body.'
            if self._targets
            else "Add [[upstream.targets]].",
        )

    @asynccontextmanager
    async def _answered(self, tries: Tries, place: Destination, call: PassedCall) -> AsyncIterator[PassedReply]:
        """Ask one target; its breaker and the observer hear of the end."""
        body = with_model(call.body, place.model) if call.alias else call.body
        target = self._targets[place.target]
        tries.begin(place, self._clock.monotonic())
        outcome, is_open = "cancelled", True
        try:
            async with target.pass_on(call, body) as (response, error_body):
                outcome, is_open = str(response.status_code), False
                if response.is_success:
                    tries.succeeded(self._clock.monotonic())
                else:
                    tries.abandoned()
                headers, pieces = _headers(response, error_body), _pieces(response, error_body, target, call)
                yield PassedReply(place.target, response.status_code, headers, pieces)
        except UpstreamError as error:
            outcome = outcome_of(error)
            # A path's handler may break its connection off, and callers choose the paths.
            if is_open and isinstance(error.__cause__, _NO_CONNECTION):
                is_open = False
                tries.failed(error, self._clock.monotonic())
            raise
        finally:
            if is_open:
                tries.abandoned()
            if self._observer is not None:
                self._observer.call_passed(place.target, outcome)


def _headers(response: httpx2.Response, error_body: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that reach the caller. An error's body was read and may be another's length than declared."""
    relayed = _RELAYED if error_body is None else _RELAYED - _OF_THE_BODY
    named = ((name.lower(), value) for name, value in response.headers.raw)  # As bytes: some have no Latin-1 text.
    return tuple((name, value) for name, value in named if name in relayed)


async def _pieces(
    response: httpx2.Response, error_body: bytes | None, target: HttpTarget, call: PassedCall
) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes, compressed where the target compressed it; each piece within the stall timeout."""
    if error_body is not None:
        yield error_body
        return
    async with aclosing(response.aiter_raw()) as body:
        while True:
            async with target.time_limit(target.settings.stall_timeout_s, call):
                piece = await anext(body, None)
            if piece is None:
                return
            yield piece
