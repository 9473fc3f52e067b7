"""Stale answers: an expired entry answers while no target can be reached (RFC 5861, stale-if-error)."""

from __future__ import annotations

import math

import structlog

from semcache.errors import UpstreamError
from semcache.model import KeyedRequest, Tier
from semcache.observe.clock_watch import SETTLING_S, ClockWatch
from semcache.story.outcomes import Stale
from semcache.story.rooms import Rooms
from semcache.story.rules import Servability, may_read
from semcache.upstream import is_outage

_log = structlog.get_logger(__name__)

_QUIET_S = 300.0
"""Seconds without a stale answer after which the next one is logged as a beginning. An outage shorter than that, which
comes again and again, is one line."""
_NO_STALE = f"no stale answer is served for the next {SETTLING_S:.0f} s"


class StaleAnswers:
    """Finds the expired entry that may answer a request whose upstream call has failed.

    Only the exact tier is asked: a paraphrase adds the doubt whether it means the same to the doubt whether its answer
    still holds. Where the clock has jumped, nobody knows for how long an entry has expired: then none is served.
    """

    def __init__(self, rooms: Rooms, servability: Servability) -> None:
        """Prepare it over the store; `store.serve_stale_s` says for how long an expired entry may answer."""
        self._entries = rooms.store.entries
        self._clock = rooms.clock
        self._servability = servability
        self._longest_s = rooms.settings.store.serve_stale_s
        self._clock_watch = ClockWatch(rooms.clock, _NO_STALE)
        self._last_s = -math.inf

    async def holds(self, keyed: KeyedRequest) -> bool:
        """Return whether a stale answer could be served now, were the upstream out of reach."""
        return (await self._find(keyed, "", "")) is not None

    async def find(self, keyed: KeyedRequest, error: BaseException) -> Stale | None:
        """Return the stale answer to a request whose upstream call failed with `error`; None: it fails with it too."""
        if not isinstance(error, UpstreamError) or not is_outage(error):
            return None
        stale = await self._find(keyed, error.reason.lower(), error.message)
        if stale is not None:
            self._note(keyed, error)
        return stale

    async def _find(self, keyed: KeyedRequest, reason: str, failure: str) -> Stale | None:
        if not self._longest_s:
            return None
        if self._clock_watch.undoubted_wall_s() is None or keyed.cacheability.tier is Tier.NONE or not may_read(keyed):
            return None
        entry = await self._entries.find_exact(keyed.exact_key, expired_s=self._longest_s)
        if entry is None or entry.tenant != keyed.request.tenant or self._servability.refusal(keyed, entry):
            return None
        return Stale(entry, reason, failure)

    def _note(self, keyed: KeyedRequest, error: UpstreamError) -> None:
        now_s, last_s = self._clock.monotonic(), self._last_s
        self._last_s = now_s
        if now_s - last_s >= _QUIET_S:
            _log.warning(
                "story.stale_serving_began",
                alias=keyed.alias,
                reason=error.reason,
                error=error.message,
                effect="equal requests are answered by expired entries, counted as stale",
            )
