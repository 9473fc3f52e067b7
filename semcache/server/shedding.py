"""Which calls are refused while the server can't keep up: a share of those that aren't exact hits."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf

from semcache.errors import OverloadedError

TARGET_S = 0.02
"""The front's delay that is kept under overload, seconds: a refusal waits as long as any other call, and shall take
less than 50 ms, of which the swings of the delay take their part ("overload" in `benchmarks/README.md`)."""
CLOSED_LOOP = 48
"""Calls that may wait unseen however slow the front is: what 64 callers that each wait for their answer leave there at
most. They bring about no more, so refusing some of them would help none."""
_BURST_S = 0.1
"""How long the delay may be longer before anything is refused: a burst is over by then (RFC 8033, MAX_BURST)."""
_AT_ONCE = 8.0
"""Share that is refused at once for each second of delay above the target, in 1/s: the proportional part. From 10 on
the delay swings at four times the load that the server can answer."""
_SETTLING = 20.0
"""How fast the share grows for each second of delay above the target, in 1/s²: the integral part, which settles at the
share that has to be refused."""
_DECAY_S = 0.2
"""Seconds in which the share falls to a third once the delay is below half of the target."""
_NOTICEABLE_S = 0.05
"""The wait for the embedder above which it is held against the deadlines of calls."""
_NONE = 0.005
"""A share below this becomes 0."""


class Shedding:
    """Decides by the measured delay of the front, by a proportional-integral controller as PIE has (RFC 8033).

    It is pure: the delay and the time are arguments. The delay is what a new call waits before the front sees it. The
    share grows while the delay is above the target and falls while it is below, so that the delay settles there: the
    server then does as much as it can.

    By Little's law as many calls wait as the front sees in the delay. So `TARGET_S` times the rate of calls may wait,
    or `CLOSED_LOOP` where that is more: the target is `TARGET_S`, or the time in which so many calls are handed over.

    Args:
        embedder_wait_s: returns the seconds that a text would wait for the embedder now.
        random_share: draws from 0 up to 1.
    """

    def __init__(
        self,
        embedder_wait_s: Callable[[], float],
        random_share: Callable[[], float] = random.random,
    ) -> None:
        self._embedder_wait_s = embedder_wait_s
        self._random_share = random_share
        self.delay_s = 0.0
        """The front's delay as of the last report, seconds."""
        self._burst_s = _BURST_S
        self._settled = 0.0
        self.share = 0.0
        """The share of calls that are refused, 0 to 1, of those that aren't exact hits."""
        self.tense = False
        """Whether the delay is near its target or above it, so that it should be measured often."""
        self.alert = False
        """Whether any call may be refused: fronts ask `refusal` only then, since an exact hit has no time to lose."""

    def report(self, delay_s: float, elapsed_s: float, calls_per_s: float) -> None:
        """Take in a measured delay.

        Args:
            delay_s: what a new call waits before the front sees it, seconds.
            elapsed_s: seconds since the last report.
            calls_per_s: calls that the front gets to see.
        """
        self.delay_s = delay_s
        target_s = max(TARGET_S, CLOSED_LOOP / calls_per_s if calls_per_s > 0 else inf)
        above_s = delay_s - target_s
        self.tense = delay_s >= target_s / 2
        if delay_s < target_s / 2:
            self._settled *= max(0.0, 1 - elapsed_s / _DECAY_S)
            if self._settled < _NONE:
                self._settled, self._burst_s = 0.0, _BURST_S
        elif self._burst_s > 0:
            self._burst_s -= elapsed_s
        else:
            self._settled = _within_1(self._settled + _SETTLING * above_s * elapsed_s)
        self.share = _within_1(self._settled + _AT_ONCE * above_s) if self._burst_s <= 0 else 0.0
        self.alert = self.share > 0 or self._embedder_wait_s() > _NOTICEABLE_S

    def refusal(self, remaining_s: float | None) -> OverloadedError | None:
        """Return the error of a call that is to be refused unless it is an exact hit; None for one that may go on.

        Args:
            remaining_s: seconds until the caller's deadline; None for no deadline.
        """
        if self.share and self._random_share() < self.share:
            return OverloadedError(
                f"The server gets more calls than it can answer: it refuses {self.share:.0%} of those that aren't "
                "exact hits.",
                hint="Try again later, or add a replica.",
            )
        if remaining_s is not None:
            wait_s = self._embedder_wait_s()
            if wait_s > remaining_s:
                return OverloadedError(
                    f"The embedder would be free in {wait_s:.2f} s, after the call's deadline.",
                    retry_after_s=wait_s,
                    hint="Try again later, or with a later deadline.",
                )
        return None


def _within_1(share: float) -> float:
    return min(1.0, max(0.0, share))
