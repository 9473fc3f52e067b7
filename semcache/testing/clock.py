"""A clock that stands still until it is told to move."""

from __future__ import annotations

START_WALL_S = 1_800_000_000.0
"""15 January 2027, on the hour."""


class FakeClock:
    """A `Clock` for tests: wall and monotonic time, moved by hand."""

    def __init__(self, wall: float = START_WALL_S, monotonic: float = 0.0) -> None:
        self._wall_s = wall
        self._monotonic_s = monotonic

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return self._monotonic_s

    def wall(self) -> float:
        """Seconds since 1970."""
        return self._wall_s

    def advance(self, seconds: float) -> None:
        """Time passes: both move. Not backwards."""
        if seconds < 0:
            raise ValueError("time passes forwards; `jump_wall` sets the wall clock back")
        self._wall_s += seconds
        self._monotonic_s += seconds

    def jump_wall(self, seconds: float) -> None:
        """Somebody sets the wall clock, forwards or back; the monotonic one doesn't notice."""
        self._wall_s += seconds
