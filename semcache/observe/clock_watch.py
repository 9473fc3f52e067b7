"""Notices jumps of the wall clock, so that nothing is deleted or served for its age at a time that may be wrong."""

from __future__ import annotations

import structlog

from semcache.ports import Clock

_log = structlog.get_logger(__name__)

SETTLING_S = 3600.0
"""Seconds that the wall clock must go on evenly before anything is done by an age that it tells.

A wrong time is corrected when the time server is asked again: at the latest after 34 minutes (systemd-timesyncd), 17
(ntpd, chrony). To delete later costs room alone, which eviction bounds.
"""
NOTHING_DELETED = f"nothing is deleted for its age for the next {SETTLING_S:.0f} s"
_LARGEST_STEP_S = 5.0
"""Seconds that the wall clock may gain or lose against the monotonic one between two looks. A clock that is slewed
changes by at most a twelfth of the time that passes, which is less between two sweeps."""


class ClockWatch:
    """Compares the wall clock with the monotonic one at each look. One thread looks.

    At the start nobody can tell a jump from the time since the last run. A suspended machine looks like a jump ahead,
    for its monotonic clock stands still.

    Args:
        clock: the two clocks.
        effect: what follows from a jump, for the log.

    Attributes:
        jumps: how many jumps were noticed.
    """

    def __init__(self, clock: Clock, effect: str = NOTHING_DELETED) -> None:
        self._clock = clock
        self._effect = effect
        self._even_since_s = clock.monotonic()
        self._difference_s = clock.wall() - self._even_since_s
        self.jumps = 0

    def settled_wall_s(self) -> float | None:
        """Return the wall clock's seconds; None while nothing may be deleted by them, after the start too."""
        wall_s, even_s = self._look()
        return wall_s if even_s >= SETTLING_S else None

    def undoubted_wall_s(self) -> float | None:
        """Return the wall clock's seconds; None for `SETTLING_S` after a jump. The start counts as no jump."""
        wall_s, even_s = self._look()
        return wall_s if even_s >= SETTLING_S or not self.jumps else None

    def _look(self) -> tuple[float, float]:
        """Return the wall clock's seconds, and for how many seconds it has gone evenly."""
        monotonic_s, wall_s = self._clock.monotonic(), self._clock.wall()
        step_s = wall_s - monotonic_s - self._difference_s
        self._difference_s += step_s
        if abs(step_s) > _LARGEST_STEP_S:
            self.jumps += 1
            self._even_since_s = monotonic_s
            _log.warning(
                "observe.clock_jumped",
                seconds=round(step_s, 3),
                effect=self._effect,
            )
        return wall_s, monotonic_s - self._even_since_s
