"""Whether a failed try is followed by another, and after how long: pure, so that every case can be tested by value."""

from __future__ import annotations

import math
import random
from datetime import UTC
from email.utils import parsedate_to_datetime

from semcache.errors import UpstreamError
from semcache.settings import RetrySettings

UNREACHABLE = "UPSTREAM_UNREACHABLE"
"""No connection, or one that ended before any of the answer came."""
BROKE_OFF = "UPSTREAM_BROKE_OFF"
"""The connection ended in the middle of an answer."""
INCOMPLETE = "UPSTREAM_INCOMPLETE"
"""The upstream itself ended a stream before its answer was whole."""
TOO_LARGE = "ANSWER_TOO_LARGE"
"""The answer passed `limits.answer_bytes`."""

_STATUSES = frozenset({429, 502, 503, 504})
_REASONS = frozenset({UNREACHABLE, BROKE_OFF})


def retry_delay_s(
    error: UpstreamError, failed_tries: int, remaining_s: float, settings: RetrySettings, rng: random.Random
) -> float | None:
    """Seconds until the next try; None when there is none.

    Exponential backoff with full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/),
    never less than the upstream's Retry-After.

    Args:
        error: how the last try failed.
        failed_tries: tries so far, at least one.
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
        except ValueError:
            return None
        # "-0000" reads as no time zone; HTTP dates are in GMT, whatever they say.
        aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        return max(0.0, aware.timestamp() - now_s)
    return max(0.0, seconds) if math.isfinite(seconds) else None
