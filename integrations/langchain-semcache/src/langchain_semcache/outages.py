"""Remember whether the server fails, so that an outage costs one warning and little time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from semcache.client import ClientError

_log = logging.getLogger("langchain_semcache")
_SLOW = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})
"""Codes of failures that the next call would wait for again."""


class Outages:
    """What the calls of all threads and event loops found out about the server."""

    def __init__(self, pause_s: float, monotonic: Callable[[], float]) -> None:
        """Start without a failure.

        Args:
            pause_s: seconds for which an unreachable server isn't asked again.
            monotonic: returns seconds that never go back.
        """
        self._pause_s = pause_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._reason = ""
        self._until_s = 0.0

    def pausing(self) -> bool:
        """Return whether the server failed so recently that it isn't asked."""
        return self._monotonic() < self._until_s

    def note_failure(self, error: ClientError) -> None:
        """Take note of a failed call; warn if it is the first for its reason since the last success."""
        with self._lock:
            is_new = error.reason != self._reason
            self._reason = error.reason
            if error.code.name in _SLOW:
                self._until_s = self._monotonic() + self._pause_s
        if is_new:
            _log.warning("semcache failed, so models are called without it: %s [%s]", error, error.reason)

    def note_success(self) -> None:
        """Take note of an answered call; the next failure warns again."""
        if self._reason:
            with self._lock:
                self._reason = ""
                self._until_s = 0.0
            _log.info("semcache answers again")
