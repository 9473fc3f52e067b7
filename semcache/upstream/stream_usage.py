"""Asks the targets of streamed calls for their usage, and learns which targets refuse the field that asks for it.

OpenAI's streams tell their usage only when `stream_options.include_usage` asks for it. Some servers know no
`stream_options` and refuse the whole call. Such a call is sent once more without what semcache added to it. The refused
try costs nothing; the usage of the answer is estimated. Where the refusal comes behind a head that says success, the
call's next try is that second one.
"""

from __future__ import annotations

import http
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from semcache.errors import SERVERS_KEY_STATUSES, UpstreamError
from semcache.model import UpstreamCall
from semcache.ports import Clock
from semcache.protocols import FORMS
from semcache.protocols.lost import ReceivedBody
from semcache.upstream.retries import NO_STREAM_USAGE
from semcache.upstream.target import HttpTarget, StreamedReply

_log = structlog.get_logger(__name__)
_REFUSALS = frozenset({http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.UNPROCESSABLE_ENTITY})
_OTHER_CAUSES = SERVERS_KEY_STATUSES | {
    http.HTTPStatus.REQUEST_TIMEOUT,
    http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    http.HTTPStatus.TOO_MANY_REQUESTS,
}
"""Statuses whose cause is never a field, though their bodies may repeat the request."""
_NAMES = (b"stream_options", b"include_usage")
_ASK_AGAIN_S = 3600.0
"""How long a refusal is remembered. A target may be another version by then, and a wrong conclusion from an error
that had another cause ends. Asking again costs one refused try."""


class StreamUsage:
    """Opens the streams of one target, and remembers whether it takes the field that asks for the usage."""

    def __init__(self, target: HttpTarget, clock: Clock) -> None:
        """Prepare it; monotonic time ends what is remembered."""
        self._target = target
        self._clock = clock
        self._taken = False
        self._refused_until_s = -math.inf

    @asynccontextmanager
    async def open(
        self, call: UpstreamCall, model: str, limit_s: float, received: ReceivedBody
    ) -> AsyncIterator[StreamedReply]:
        """Ask the target for a streamed answer, and yield its reply.

        Args:
            call: the call, whose body may say itself whether it wants the usage.
            model: the model that the target is asked for.
            limit_s: seconds until the reply's head, for both tries together.
            received: notes what comes, however the exchange ends.

        Raises:
            The errors of `HttpTarget.open`.
        """
        begun_s = self._clock.monotonic()
        asks = self._target.settings.stream_usage and begun_s >= self._refused_until_s
        edit = FORMS[call.protocol].edit
        body = edit(call.body, model=model, stream=True, asks_usage=asks)
        plain = edit(call.body, model=model, stream=True, asks_usage=False)
        adds = plain != body  # What the caller asked for itself stays.
        async with AsyncExitStack() as stack:
            try:
                reply = await stack.enter_async_context(self._target.open(body, call, limit_s, received))
            except UpstreamError as error:
                if not adds or not self._may_be_cause(error):
                    raise
                remaining_s = limit_s - (self._clock.monotonic() - begun_s)
                reply = await stack.enter_async_context(self._target.open(plain, call, remaining_s, received))
                self._remember_refusal(error)
                adds = False
            else:
                self._taken = self._taken or asks
            try:
                yield reply
            except UpstreamError as error:
                # A status of success, and then an error instead of chunks: the next try leaves the field out.
                if not adds or received.chunks or not _names_the_field(error):
                    raise
                self._remember_refusal(error)
                raise UpstreamError(
                    error.message,
                    http_status=error.http_status,
                    body=error.body,
                    reason=NO_STREAM_USAGE,
                    hint="The next streamed call goes without stream_options. Set the target's stream_usage = false.",
                ) from error

    def _may_be_cause(self, error: UpstreamError) -> bool:
        """Whether the target may have refused a call because it was asked for its usage.

        An error that names the field is such a refusal, whatever its status says; some servers fail with 500. So is
        every 400 and 422 of a target that has never taken the field, since many servers don't say what they refuse.
        """
        return _names_the_field(error) or (error.http_status in _REFUSALS and not self._taken)

    def _remember_refusal(self, error: UpstreamError) -> None:
        self._taken = False
        self._refused_until_s = self._clock.monotonic() + _ASK_AGAIN_S
        name = self._target.settings.name
        _log.warning("upstream.stream_usage_refused", target=name, http_status=error.http_status)


def _names_the_field(error: UpstreamError) -> bool:
    return error.http_status not in _OTHER_CAUSES and any(name in error.body for name in _NAMES)
