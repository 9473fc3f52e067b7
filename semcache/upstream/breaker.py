"""A breaker per target: whoever fails too often isn't asked for a while, then by a few. Pure, its time is given.

Reference: https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from semcache.settings import BreakerSettings
from semcache.upstream.sliding import SlidingCounts


class BreakerState(IntEnum):
    """As it is exported: the higher, the worse."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Began(NamedTuple):
    """A call under way: what the breaker had been through when it began."""

    generation: int
    """How often it had opened: a call from before says nothing about the target after that."""
    rests: int
    """How often the target had asked for a rest."""


class Breaker:
    """One target's health. Times are monotonic seconds.

    It opens after `failures` in a row, or when `failure_share` of at least `min_samples` calls of the last `window_s`
    failed; for `open_s`, doubled each time that the probes fail too, up to `max_open_s`, and never less than the
    target's own Retry-After up to the same maximum. Then up to `probes` calls at once may try; one that succeeds
    closes it, one that fails opens it.

    Beside that a target may rest: it lives and told when to come back (a 429 with Retry-After). That is no failure and
    never opens the breaker, but whoever has a choice passes it over until then; and where it says so again each time
    that it is asked, for `open_s` and twice as long each time, up to `max_open_s`.

    Args:
        settings: the limits.
        on_change: told of each change, the state before and the new one.
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
        """The state; one whose time is over is half open, whether or not a probe has begun."""
        if self._state is BreakerState.OPEN and now_s >= self._due_s:
            return BreakerState.HALF_OPEN
        return self._state

    def admits(self, now_s: float) -> bool:
        """Whether a call may begin."""
        if self._state is BreakerState.CLOSED:
            return True
        return now_s >= self._due_s and self._probing < self._settings.probes

    def due_in_s(self, now_s: float) -> float:
        """Seconds until the next probe may begin; where one is running, until there might be another."""
        wait_s = self._due_s - now_s
        return wait_s if wait_s > 0 or self.admits(now_s) else self._settings.open_s

    def rest_s(self, now_s: float) -> float:
        """Seconds that the target still asked to be left alone; 0 when it didn't, or they are over."""
        return max(0.0, self._rests_until_s - now_s)

    def is_avoided(self, now_s: float) -> bool:
        """Whether others should be asked who can be: it rests, or did so again and again."""
        return now_s < max(self._rests_until_s, self._avoided_until_s)

    def is_proven(self, now_s: float) -> bool:
        """Whether it has neither failed within the window nor told to come back as its last word."""
        closed = self._state is BreakerState.CLOSED and not self._rests_in_a_row
        return closed and not self._counts.read(now_s)[1]

    def begin(self) -> Began:
        """A call begins, which `admits` allowed; gives what its end must be told with."""
        if self._state is not BreakerState.CLOSED:
            self._change(BreakerState.HALF_OPEN)
            self._probing += 1
        return Began(self._generation, self._rests)

    def lives(self, began: Began) -> None:
        """The target has begun to answer: half open, that is enough, since a stream may take minutes to its end."""
        if began.generation == self._generation and self._state is BreakerState.HALF_OPEN:
            self._close()

    def succeeded(self, began: Began, now_s: float) -> None:
        """A call got what it wanted, or a refusal that was its own fault: the target lives."""
        if began.generation != self._generation:
            return
        if self._state is BreakerState.HALF_OPEN:
            self._close()
        self._in_a_row = self._rests_in_a_row = 0
        self._counts.add(now_s, total=1)

    def failed(self, began: Began, now_s: float, retry_after_s: float | None = None) -> None:
        """A call failed by the target's fault."""
        if began.generation != self._generation:
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

    def busy(self, began: Began, now_s: float, retry_after_s: float) -> None:
        """The target lives, and told in how many seconds to come back."""
        if began.generation != self._generation:
            return
        if self._state is BreakerState.HALF_OPEN:
            self._close()
        self._rest(now_s, retry_after_s)
        # What was under way when the first of them was told is one word with it.
        if began.rests == self._rests:
            self._rests += 1
            if self._rests_in_a_row:
                avoided_s = self._doubled_s(self._rests_in_a_row - 1)
                self._avoided_until_s = now_s + min(avoided_s, self._settings.max_open_s)
            self._rests_in_a_row += 1

    def left(self, began: Began) -> None:
        """A call was given up before it showed anything."""
        if began.generation == self._generation and self._state is BreakerState.HALF_OPEN:
            self._probing -= 1

    def _rest(self, now_s: float, retry_after_s: float | None) -> None:
        # No longer than an open breaker: a strange header mustn't take a target away for a day.
        if retry_after_s:
            self._rests_until_s = max(self._rests_until_s, now_s + min(retry_after_s, self._settings.max_open_s))

    def _open(self, now_s: float, retry_after_s: float | None) -> None:
        open_s = max(self._doubled_s(self._openings), retry_after_s or 0.0)
        self._due_s = now_s + min(open_s, self._settings.max_open_s)
        self._openings += 1
        self._generation += 1
        self._change(BreakerState.OPEN)

    def _doubled_s(self, times: int) -> float:
        # Bounded, since a float overflows.
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
