"""The degraded mode: when it begins and why, what it asks for, and when it ends. Pure: the time is an argument."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from semcache.model import NORMAL, Mode
from semcache.settings import DegradedSettings
from semcache.upstream.sliding import SlidingCounts

BUDGET = "budget"
ERROR_RATE = "error_rate"
LATENCY = "latency"
REASONS = (BUDGET, ERROR_RATE, LATENCY)
"""The reasons for the mode. Where several hold, the first of them is reported."""

_LATENCIES = 1024
"""Latencies kept: the last of the window. They give the 95th percentile to within one percentage point."""
_CHECKS = 60
"""Checks of the conditions per window: each sorts the latencies, so it isn't done at every call."""


class DegradedMode:
    """Begins when a condition holds; ends when none has held, by the lower thresholds, for `hold_s`.

    Fewer than `min_samples` calls in the window show nothing, for the beginning or for the end. Otherwise a server
    without traffic would stay degraded for ever. While the mini model answers, its calls are measured. So a full model
    that is still slow shows only after the mode has ended; `hold_s` bounds how often that happens.

    Args:
        settings: conditions and measures.
        on_change: called at each change with the mode before and the new one.
    """

    def __init__(self, settings: DegradedSettings, on_change: Callable[[Mode, Mode], None] | None = None) -> None:
        self._settings = settings
        self._on_change = on_change
        self._measures = frozenset(settings.measures)
        self._mode = NORMAL
        self._calls = SlidingCounts(settings.window_s)
        self._latencies_s: deque[tuple[float, float]] = deque(maxlen=_LATENCIES)
        self._pressed = False
        self._calm_since_s: float | None = None
        self._next_check_s = -math.inf

    def observe(self, now_s: float, latency_s: float, *, failed: bool) -> None:
        """Count a call that ended; `latency_s` counts where it succeeded."""
        if not self._settings.enabled:
            return
        self._calls.add(now_s, total=1, marked=int(failed))
        if not failed:
            self._latencies_s.append((now_s, latency_s))

    def press_budget(self, now_s: float, *, pressed: bool) -> None:
        """Report that a budget is used up, or that none is any more."""
        if pressed != self._pressed:
            self._pressed = pressed
            self._check(now_s)

    def current(self, now_s: float) -> Mode:
        """Return the mode now."""
        if self._settings.enabled and now_s >= self._next_check_s:
            self._check(now_s)
        return self._mode

    def _check(self, now_s: float) -> None:
        settings = self._settings
        if not settings.enabled:
            return
        self._next_check_s = now_s + settings.window_s / _CHECKS
        reason = self._reason(now_s)
        if reason:
            self._calm_since_s = None
            self._change(Mode(active=True, reason=reason, measures=self._measures))
        elif self._mode.active:
            if self._calm_since_s is None:
                self._calm_since_s = now_s
            if now_s - self._calm_since_s >= settings.hold_s:
                self._change(NORMAL)

    def _reason(self, now_s: float) -> str:
        """Return the first condition that holds: above its threshold for entering or, in the mode, for leaving."""
        settings, active = self._settings, self._mode.active
        if settings.on_budget and self._pressed:
            return BUDGET
        error_rate = settings.error_rate_leave if active else settings.error_rate_enter
        if error_rate is not None:
            calls, failures = self._calls.read(now_s)
            if calls >= settings.min_samples and failures > error_rate * calls:
                return ERROR_RATE
        p95_limit_s = settings.p95_leave_s if active else settings.p95_enter_s
        if p95_limit_s is not None:
            p95_s = self._p95_s(now_s)
            if p95_s is not None and p95_s > p95_limit_s:
                return LATENCY
        return ""

    def _p95_s(self, now_s: float) -> float | None:
        """Return the 95th percentile by nearest rank, seconds; None for too few samples."""
        latencies = self._latencies_s
        oldest_s = now_s - self._settings.window_s
        while latencies and latencies[0][0] < oldest_s:
            latencies.popleft()
        if len(latencies) < self._settings.min_samples:
            return None
        ordered = sorted(latency_s for _, latency_s in latencies)
        return ordered[math.ceil(0.95 * len(ordered)) - 1]

    def _change(self, mode: Mode) -> None:
        before, self._mode = self._mode, mode
        if not mode.active:
            self._calm_since_s = None
        if before != mode and self._on_change is not None:
            self._on_change(before, mode)
