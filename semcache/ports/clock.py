"""Time as a parameter."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time as a parameter."""

    def monotonic(self) -> float:
        """Seconds that never jump, for durations and deadlines."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, for what is written down; may jump."""
        ...
