"""Decides whose fault a failed try was, whether it is repeated, and after how long. Pure: tested by value."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

from semcache.errors import UpstreamError, UpstreamTimedOutError
from semcache.settings import RetrySettings

UNREACHABLE = "UPSTREAM_UNREACHABLE"
"""There was no connection, or it ended before any of the answer came."""
BROKE_OFF = "UPSTREAM_BROKE_OFF"
"""The connection ended in the middle of an answer."""
INCOMPLETE = "UPSTREAM_INCOMPLETE"
"""The upstream itself ended a stream before its answer was whole."""
TOO_LARGE = "ANSWER_TOO_LARGE"
"""The answer passed `limits.answer_bytes`."""

NO_STREAM_USAGE = "UPSTREAM_REFUSED_STREAM_USAGE"
"""The target began to answer and then refused the field that asks for a stream's usage. The next try leaves it out."""
UNAVAILABLE = "UPSTREAM_UNAVAILABLE"
"""No target was asked: every target that could answer failed too often lately."""

_STATUSES = frozenset({429, 502, 503, 504, 529})
_REASONS = frozenset({UNREACHABLE, BROKE_OFF, NO_STREAM_USAGE})
_OUTAGES = frozenset({UNAVAILABLE, UNREACHABLE, BROKE_OFF, INCOMPLETE})
_TOO_MANY_REQUESTS = 429
_OF_THE_TARGET = frozenset({401, 402, 408})
"""The target refused the server's own key or account (401, 402), or didn't wait for the request (408)."""
_OF_THE_MODEL = frozenset({403, 404, 405, 410})


class Blame(Enum):
    """Whose fault a failed try was. What follows depends on it."""

    REQUEST = "request"
    """The request's own: the call fails at once, since every target would answer the same."""
    MODEL = "model"
    """The target works and refuses this model (unknown, or no permission): other targets are asked."""
    BUSY = "busy"
    """The target works and said when to come back: until then other targets are preferred."""
    TARGET = "target"
    """The target's: it counts against the target's breaker, and other targets are asked."""


def blame(error: UpstreamError) -> Blame:
    """Return whose fault a failed try was.

    A 429 with Retry-After comes from a target under load that says when to come back. Other targets are preferred until
    then, and longer each time in a row, but the target's breaker doesn't open (`Breaker.busy`). A 429 without it counts
    as any other failure: an exhausted quota answers so.
    """
    status = error.http_status
    if isinstance(error, UpstreamTimedOutError) or status is None or status in _OF_THE_TARGET:
        return Blame.TARGET
    if status == _TOO_MANY_REQUESTS:
        return Blame.BUSY if error.retry_after_s else Blame.TARGET
    if status in _OF_THE_MODEL:
        return Blame.MODEL
    return Blame.REQUEST if 400 <= status < 500 or error.reason == TOO_LARGE else Blame.TARGET


def is_outage(error: UpstreamError) -> bool:
    """Return whether a call failed because its upstream can't be reached or is down, whatever the call asked.

    As in RFC 5861, section 4: no answer came, or its status is a 5xx. An upstream that refuses (4xx) or that sends what
    is no answer was reached.
    """
    if error.reached:
        return False
    if isinstance(error, UpstreamTimedOutError) or error.reason in _OUTAGES:
        return True
    return error.reason != TOO_LARGE and (error.http_status is None or 500 <= error.http_status < 600)


def outcome_of(error: UpstreamError) -> str:
    """Return how a failed try is counted: a stable token, or the HTTP status that it failed with."""
    if isinstance(error, UpstreamTimedOutError):
        return "timeout"
    if error.reason in {UNREACHABLE, BROKE_OFF, INCOMPLETE}:
        return "unreachable" if error.reason == UNREACHABLE else "broken"
    refused = error.http_status is not None and error.http_status >= 300
    return str(error.http_status) if refused else "failed"


def retry_delay_s(
    error: UpstreamError, failed_tries: int, remaining_s: float, settings: RetrySettings, rng: random.Random
) -> float | None:
    """Return the seconds until a target that failed is asked again; None when it isn't.

    Exponential backoff with full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/),
    never less than the upstream's Retry-After.

    Args:
        error: how the last try failed.
        failed_tries: the tries before this one, 1 or more, without the first tries at other targets.
        remaining_s: seconds until the call's deadline.
        settings: the limits.
        rng: draws the jitter.
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


def asked_wait_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Return the seconds for which an upstream asks to be left alone; None when it doesn't say.

    OpenAI and Azure send `retry-after-ms` beside `retry-after`, which they round up to seconds: the finer one counts.

    Args:
        headers: of the response.
        now_s: wall-clock seconds since 1970.
    """
    try:
        milliseconds = float(headers.get("retry-after-ms", ""))
    except ValueError:
        milliseconds = math.nan
    if math.isfinite(milliseconds) and milliseconds >= 0:
        return milliseconds / 1000
    return parse_retry_after(headers.get("retry-after"), now_s)


def parse_retry_after(value: str | None, now_s: float) -> float | None:
    """Return the seconds that a Retry-After header asks for; None when it is neither a number nor an HTTP date.

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
        except (ValueError, OverflowError):  # OverflowError comes from numbers that no date has.
            return None
        # Python reads "-0000" as no time zone. HTTP dates are always in GMT.
        aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        return max(0.0, aware.timestamp() - now_s)
    return max(0.0, seconds) if math.isfinite(seconds) else None
