"""A breaker per target: a target that fails too often isn't asked for a while, then by a few calls.

It is pure: the time is an argument.

Reference: https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from semcache.settings import BreakerSettings
from semcache.upstream.sliding import SlidingCounts


class BreakerState(IntEnum):
    """The state as the metrics export it: the higher, the worse."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Beginning(NamedTuple):
    """The state of the breaker when a call began, which the end of the call is reported with."""

    generation: int
    """How often the breaker had opened. A call from before an opening says nothing about the target after it."""
    rests: int
    """How often the target had asked for a rest."""


class Breaker:
    """One target's health. Times are monotonic seconds.

    It opens after `failures` in a row, or when `failure_share` of at least `min_samples` calls of the last `window_s`
    failed. It stays open for `open_s`, doubled each time that the probes fail too, up to `max_open_s`. The target's own
    Retry-After makes it longer, up to the same maximum. Then up to `probes` calls at once may try: one that succeeds
    closes the breaker, one that fails opens it again.

    Beside that a target may rest: it works, and it said when to come back (a 429 with Retry-After). That is no failure
    and never opens the breaker. A call that has a choice prefers other targets until then. Where the target says so
    again each time that it is asked, others are preferred for `open_s`, twice as long each time, up to `max_open_s`.

    Args:
        settings: the limits.
        on_change: called at each change with the state before and the new one.
    """

    def __init__(
        self, settings: BreakerSettings, on_change: Callable[[BreakerState, BreakerState], None] | None = None
    ) -> None:
        self._settings = settings
        self._on_change = on_change
        self._state = BreakerState.CLOSED
        self._counts = SlidingCounts(settings.window_s)
        self._in_a_row = 0
        self._openings = 0
        self._due_s = 0.0
        self._rests_until_s = 0.0
        self._avoided_until_s = 0.0
        self._probing = 0
        self._rests = 0
        self._rests_in_a_row = 0
        self._generation = 0

    def state(self, now_s: float) -> BreakerState:
        """Return the state. A breaker whose time is over is half open, whether or not a probe has begun."""
        if self._state is BreakerState.OPEN and now_s >= self._due_s:
            return BreakerState.HALF_OPEN
        return self._state

    def admits(self, now_s: float) -> bool:
        """Whether a call may begin."""
        if self._state is BreakerState.CLOSED:
            return True
        return now_s >= self._due_s and self._probing < self._settings.probes

    def due_in_s(self, now_s: float) -> float:
        """Return the seconds until the next probe may begin; while a probe is running, until there might be another."""
        wait_s = self._due_s - now_s
        return wait_s if wait_s > 0 or self.admits(now_s) else self._settings.open_s

    def rest_s(self, now_s: float) -> float:
        """Return the seconds of rest that the target asked for and that remain; 0 for none."""
        return max(0.0, self._rests_until_s - now_s)

    def is_avoided(self, now_s: float) -> bool:
        """Whether a call should prefer other targets: this one rests, or asked for a rest again and again."""
        return now_s < max(self._rests_until_s, self._avoided_until_s)

    def is_proven(self, now_s: float) -> bool:
        """Whether the target has not failed within the window, and did not ask for a rest when it was last asked."""
        closed = self._state is BreakerState.CLOSED and not self._rests_in_a_row
        return closed and not self._counts.read(now_s)[1]

    def begin(self) -> Beginning:
        """Begin a call that `admits` allowed; returns what its end must be reported with."""
        if self._state is not BreakerState.CLOSED:
            self._change(BreakerState.HALF_OPEN)
            self._probing += 1
        return Beginning(self._generation, self._rests)

    def lives(self, beginning: Beginning) -> None:
        """Report that the target has begun to answer, which closes a half-open breaker: a stream may take minutes."""
        if beginning.generation == self._generation and self._state is BreakerState.HALF_OPEN:
            self._close()

    def succeeded(self, beginning: Beginning, now_s: float) -> None:
        """Report that a call was answered, or refused by its own fault: the target works."""
        if beginning.generation != self._generation:
            return
        if self._state is BreakerState.HALF_OPEN:
            self._close()
        self._in_a_row = self._rests_in_a_row = 0
        self._counts.add(now_s, total=1)

    def failed(self, beginning: Beginning, now_s: float, retry_after_s: float | None = None) -> None:
        """Report that a call failed by the target's fault."""
        if beginning.generation != self._generation:
            return
        settings = self._settings
        self._rest(now_s, retry_after_s)
        if self._state is BreakerState.HALF_OPEN:
            self._open(now_s, retry_after_s)
            return
        self._in_a_row += 1
        self._counts.add(now_s, total=1, marked=1)
        calls, failures = self._counts.read(now_s)
        often = calls >= settings.min_samples and failures >= settings.failure_share * calls
        if often or self._in_a_row >= settings.failures:
            self._open(now_s, retry_after_s)

    def busy(self, beginning: Beginning, now_s: float, retry_after_s: float) -> None:
        """Report that the target works, and asked for a rest of so many seconds."""
        if beginning.generation != self._generation:
            return
        if self._state is BreakerState.HALF_OPEN:
            self._close()
        self._rest(now_s, retry_after_s)
        # Calls that were under way when the target first asked for this rest count as the same request for it.
        if beginning.rests == self._rests:
            self._rests += 1
            if self._rests_in_a_row:
                avoided_s = self._doubled_s(self._rests_in_a_row - 1)
                self._avoided_until_s = now_s + min(avoided_s, self._settings.max_open_s)
            self._rests_in_a_row += 1

    def abandoned(self, beginning: Beginning) -> None:
        """Report that a call was given up before it showed anything about the target."""
        if beginning.generation == self._generation and self._state is BreakerState.HALF_OPEN:
            self._probing -= 1

    def _rest(self, now_s: float, retry_after_s: float | None) -> None:
        # Bounded as an open breaker is: a wrong header must not take a target away for a day.
        if retry_after_s:
            self._rests_until_s = max(self._rests_until_s, now_s + min(retry_after_s, self._settings.max_open_s))

    def _open(self, now_s: float, retry_after_s: float | None) -> None:
        open_s = max(self._doubled_s(self._openings), retry_after_s or 0.0)
        self._due_s = now_s + min(open_s, self._settings.max_open_s)
        self._openings += 1
        self._generation += 1
        self._change(BreakerState.OPEN)

    def _doubled_s(self, times: int) -> float:
        # Bounded, because a float overflows from 2 ** 1024 on.
        return self._settings.open_s * 2.0 ** min(times, 30)

    def _close(self) -> None:
        self._openings = 0
        self._in_a_row = 0
        self._counts.clear()
        self._change(BreakerState.CLOSED)

    def _change(self, state: BreakerState) -> None:
        before, self._state = self._state, state
        if before is state:
            return
        self._probing = 0
        if self._on_change is not None:
            self._on_change(before, state)
