"""Hear Ctrl-C during a training and let the step end first, so that the state that is saved is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether Ctrl-C was pressed.

    Attributes:
        requested: it was pressed, and the training shall end after its step.
    """

    def __init__(self) -> None:
        self.requested = False

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Note the first SIGINT; the second one ends the training at once, without another save.

        Raises:
            KeyboardInterrupt: it isn't the first.
        """
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def hear_interruption() -> Iterator[Interruption]:
    """Hold SIGINT back until the caller has looked for it, and restore the handler afterwards.

    Python runs handlers of signals in the main thread alone. In another thread nothing is held back, and nothing needs
    to be: no KeyboardInterrupt is raised there.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    former = signal.signal(signal.SIGINT, interruption.handle)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, former)
