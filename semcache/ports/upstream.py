"""Where answers come from when the cache has none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from semcache.model import Answer, Mode, UpstreamCall


class Upstream(Protocol):
    """Where answers come from when the cache has none."""

    def models(self, alias: str) -> frozenset[str] | None:
        """The models that an alias's targets run now, degraded ones left out; None when nothing routes the alias."""
        ...

    def candidates(
        self, alias: str, *, task_type: str = "", complexity: str = "", degraded: bool = False
    ) -> tuple[str, ...]:
        """The models that such a call could be sent to, the likeliest first; empty when nothing routes it."""
        ...

    @property
    def mode(self) -> Mode:
        """The degraded mode now."""
        ...

    def press_budget(self, *, pressed: bool) -> None:
        """A budget over all tenants is nearly spent, or no longer: a condition of the degraded mode."""
        ...

    async def complete(self, call: UpstreamCall) -> Answer:
        """One whole answer.

        Raises:
            UnknownModelError, UpstreamRefusedError, UpstreamTimedOutError, UpstreamError.
            OverLimitError: `call.barred` leaves no model.
        """
        ...

    def stream(self, call: UpstreamCall) -> AsyncIterator[bytes | Answer]:
        """`chat.completion.chunk` JSON as it arrives, without SSE framing; last, the whole Answer."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
