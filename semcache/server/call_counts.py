"""Calls counted by method and by how they ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from semcache.model import CallStats


class MethodCalls:
    """The calls of one method since the start. The event loop's thread alone counts; others may read.

    The identity: `started` is the sum of `ended` and `running`.

    Attributes:
        started: calls that were handed over.
        running: those that haven't ended.
        ended: how many ended with each gRPC code, by its name.
    """

    __slots__ = ("ended", "running", "started")

    def __init__(self) -> None:
        self.started = 0
        self.running = 0
        self.ended: dict[str, int] = defaultdict(int)

    def start(self) -> None:
        """Count a call in."""
        self.started += 1
        self.running += 1

    def end(self, code: str) -> None:
        """Count a call out, by the name of its gRPC code."""
        self.running -= 1
        self.ended[code] += 1


class CallCounts:
    """The calls of all methods."""

    def __init__(self) -> None:
        self._methods: dict[str, MethodCalls] = {}

    def of(self, method: str) -> MethodCalls:
        """Return the counts of a method; it is known from then on. Methods are named by code, never by callers."""
        return self._methods.setdefault(method, MethodCalls())

    @property
    def started(self) -> int:
        """Calls that were handed over since the start, of all methods."""
        return sum(calls.started for calls in self._methods.values())

    def by_method(self) -> Mapping[str, CallStats]:
        """Return the counts of each method now."""
        return {
            method: CallStats(calls.started, calls.running, calls.ended.copy())
            for method, calls in self._methods.copy().items()
        }
