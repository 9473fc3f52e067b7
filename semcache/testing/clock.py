"""A clock that stands still until a test moves it."""

from __future__ import annotations

START_WALL_S = 1_800_000_000.0
"""15 January 2027, on the hour."""


class FakeClock:
    """A `Clock` for tests: wall and monotonic time, which only the test moves."""

    def __init__(self, wall: float = START_WALL_S, monotonic: float = 0.0) -> None:
        self._wall_s = wall
        self._monotonic_s = monotonic

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return self._monotonic_s

    def wall(self) -> float:
        """Return seconds since 1970."""
        return self._wall_s

    def advance(self, seconds: float) -> None:
        """Let time pass: both times move.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError("time passes forwards; `jump_wall` sets the wall clock back")
        self._wall_s += seconds
        self._monotonic_s += seconds

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forwards or back; the monotonic time stays."""
        self._wall_s += seconds
