"""Whose fault a failed try was, whether it is repeated, and after how long: pure, so that all is tested by value."""

from __future__ import annotations

import math
import random
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

from semcache.errors import UpstreamError, UpstreamTimedOutError
from semcache.settings import RetrySettings

UNREACHABLE = "UPSTREAM_UNREACHABLE"
"""No connection, or one that ended before any of the answer came."""
BROKE_OFF = "UPSTREAM_BROKE_OFF"
"""The connection ended in the middle of an answer."""
INCOMPLETE = "UPSTREAM_INCOMPLETE"
"""The upstream itself ended a stream before its answer was whole."""
TOO_LARGE = "ANSWER_TOO_LARGE"
"""The answer passed `limits.answer_bytes`."""

UNAVAILABLE = "UPSTREAM_UNAVAILABLE"
"""Nobody was asked: every target that could answer failed too often of late."""

_STATUSES = frozenset({429, 502, 503, 504})
_REASONS = frozenset({UNREACHABLE, BROKE_OFF})
_TOO_MANY_REQUESTS = 429
_OF_THE_TARGET = frozenset({401, 402, 408})
"""The server's own key or account there, and a target that had no patience."""
_OF_THE_MODEL = frozenset({403, 404, 405, 410})


class Blame(Enum):
    """Whose fault a failed try was, and so what follows."""

    REQUEST = "request"
    """Its own: told at once, since no target would answer it otherwise."""
    MODEL = "model"
    """The target lives and won't serve this model (there is none, or no permission): others are asked."""
    BUSY = "busy"
    """The target lives and told when to come back: until then others are preferred."""
    TARGET = "target"
    """It counts against the target's breaker, and others are asked."""


def blame(error: UpstreamError) -> Blame:
    """Whose fault it was.

    A 429 with Retry-After is an honest target under load: others are preferred for so long, and longer each time that
    it says so in a row, but it isn't cut off (`Breaker.busy`). A 429 without is a failure like any other, for it is
    what exhausted quotas and limits that nobody lifts look like.
    """
    status = error.http_status
    if isinstance(error, UpstreamTimedOutError) or status is None or status in _OF_THE_TARGET:
        return Blame.TARGET
    if status == _TOO_MANY_REQUESTS:
        return Blame.BUSY if error.retry_after_s else Blame.TARGET
    if status in _OF_THE_MODEL:
        return Blame.MODEL
    return Blame.REQUEST if 400 <= status < 500 or error.reason == TOO_LARGE else Blame.TARGET


def retry_delay_s(
    error: UpstreamError, failed_tries: int, remaining_s: float, settings: RetrySettings, rng: random.Random
) -> float | None:
    """Seconds until a target that failed is asked again; None when it isn't.

    Exponential backoff with full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/),
    never less than the upstream's Retry-After.

    Args:
        error: how the last try failed.
        failed_tries: the tries before this repeated one, at least one; first tries at other targets don't count.
        remaining_s: seconds until the call's deadline.
        settings: the limits.
        rng: the jitter's chance.
    """
    if failed_tries > settings.max_retries:
        return None
    if error.http_status not in _STATUSES and error.reason not in _REASONS:
        return None
    asked_s = error.retry_after_s or 0.0
    if asked_s > settings.max_backoff_s:
        return None
    ceiling_s = min(settings.max_backoff_s, settings.backoff_s * 2 ** (failed_tries - 1))
    delay_s = max(asked_s, rng.uniform(0, ceiling_s))
    # A wait that ends with the deadline leaves no time for an answer.
    return delay_s if delay_s < remaining_s else None


def parse_retry_after(value: str | None, now_s: float) -> float | None:
    """Seconds that a Retry-After header asks for, from a number or an HTTP date; None when it says neither.

    Args:
        value: the header.
        now_s: wall-clock seconds since 1970.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, OverflowError):  # The latter from numbers that no date has.
            return None
        # "-0000" reads as no time zone; HTTP dates are in GMT, whatever they say.
        aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        return max(0.0, aware.timestamp() - now_s)
    return max(0.0, seconds) if math.isfinite(seconds) else None
