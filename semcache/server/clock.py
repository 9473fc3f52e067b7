"""The clock of the real world."""

import time


class SystemClock:
    """`semcache.ports.Clock` by the operating system."""

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()
