"""The port of time, so that tests can set it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Two clocks: one for durations, one for what is written down."""

    def monotonic(self) -> float:
        """Return seconds that never jump, for durations and deadlines."""
        ...

    def wall(self) -> float:
        """Return seconds since 1970, for what is written down. They may jump."""
        ...
