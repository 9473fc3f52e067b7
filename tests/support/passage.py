"""A passage that a worker thread enters and waits in until the test opens it."""

import asyncio
import threading

WAIT_S = 30
"""Seconds after which a test fails that nobody opens a passage for, or whose passage nobody enters."""


class Passage:
    """Holds every thread that passes until `open`, and tells a test when the first has come."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._reached = threading.Event()

    def open(self) -> None:
        """Let all threads go on, those that come later too."""
        self._opened.set()

    async def entered(self) -> None:
        """Return once a thread has come."""
        assert await asyncio.to_thread(self._reached.wait, WAIT_S)

    def hold(self) -> None:
        """Wait in the calling thread until the passage is open."""
        self._reached.set()
        assert self._opened.wait(WAIT_S)
