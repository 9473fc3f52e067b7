"""The clock of the real world."""

import time


class SystemClock:
    """`semcache.ports.Clock` by the operating system."""

    # The functions themselves: a request asks a dozen times, and a method around each would cost twice as much.
    monotonic = staticmethod(time.monotonic)
    """Seconds that never jump."""
    wall = staticmethod(time.time)
    """Seconds since 1970."""
