"""The operating system's clock."""

import time


class SystemClock:
    """`semcache.ports.Clock` by the operating system."""

    # The functions themselves: a request reads the clock a dozen times, and a method around each would double the cost.
    monotonic = staticmethod(time.monotonic)
    """Seconds that never jump."""
    wall = staticmethod(time.time)
    """Seconds since 1970."""
