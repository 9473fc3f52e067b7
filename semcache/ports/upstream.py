"""The port of the upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from semcache.model import Answer, Mode, PassedCall, PassedReply, UpstreamCall


class Upstream(Protocol):
    """Answers the requests that the cache has no answer for."""

    def models(self, alias: str) -> frozenset[str] | None:
        """Return the models that an alias's targets run now, without degraded ones; None when no route serves it."""
        ...

    def candidates(
        self, alias: str, *, task_type: str = "", complexity: str = "", degraded: bool = False
    ) -> tuple[str, ...]:
        """Return the models that such a call could be sent to, the likeliest first; empty when nothing routes it."""
        ...

    def targets_of(self, model: str) -> frozenset[str]:
        """Return the names of the targets that may be asked for a model, for whichever alias."""
        ...

    @property
    def mode(self) -> Mode:
        """The degraded mode now."""
        ...

    def press_budget(self, *, pressed: bool) -> None:
        """Report that a budget over all tenants is nearly spent, or that none is any more.

        It is a condition of the degraded mode.
        """
        ...

    async def complete(self, call: UpstreamCall) -> Answer:
        """Return one whole answer.

        Raises:
            UnknownModelError, UpstreamRefusedError, UpstreamTimedOutError, UpstreamError.
            OverLimitError: `call.barred` leaves no model.
        """
        ...

    def stream(self, call: UpstreamCall) -> AsyncIterator[bytes | Answer]:
        """Yield the JSON of each of the protocol's events as it arrives, without SSE framing; last, the whole Answer.

        Raises:
            The errors of `complete`, between chunks too.
        """
        ...

    def pass_on(self, call: PassedCall) -> AbstractAsyncContextManager[PassedReply]:
        """Return the context of a call that is passed to a target as it came, of any path.

        Entering it gives the target's answer once its head has come, whatever its status says. One target is asked,
        once. Leaving it early gives the answer up.

        Raises:
            UnknownModelError: no route serves the alias; or the call names none, and no route takes such calls.
            UpstreamRefusedError: the target refused the server's own key (401, 403).
            UpstreamTimedOutError, UpstreamError: no answer came, or a redirect. `pieces` raises them too.
            OverloadedError: there is no place at the target, or this process has run out of memory or descriptors.
            InvalidRequestError: the body names an alias, and is no JSON object.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
