"""Whether another try follows, and after how long."""

import random
from email.utils import formatdate

import pytest

from semcache.errors import UpstreamError, UpstreamRefusedError, UpstreamTimedOutError
from semcache.settings import RetrySettings
from semcache.upstream.retries import (
    BROKE_OFF,
    INCOMPLETE,
    TOO_LARGE,
    UNAVAILABLE,
    UNREACHABLE,
    Blame,
    asked_wait_s,
    blame,
    is_outage,
    parse_retry_after,
    retry_delay_s,
)

SETTINGS = RetrySettings(max_retries=4, backoff_s=1.0, max_backoff_s=4.0)
NOW_S = 1_800_000_000.0


class Highest(random.Random):
    """A random generator that always draws the largest number."""

    def uniform(self, a, b):
        return b


def delay_s(error, failed_tries=1, remaining_s=100.0, settings=SETTINGS):
    return retry_delay_s(error, failed_tries, remaining_s, settings, Highest())


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (UpstreamRefusedError("", http_status=429), True),
        *((UpstreamError("", http_status=status), True) for status in (502, 503, 504, 529)),
        *((UpstreamError("", http_status=status), False) for status in (200, 301, 500, 501, 505)),
        *((UpstreamRefusedError("", http_status=status), False) for status in (400, 401, 404, 408, 409, 425)),
        (UpstreamError("", reason=UNREACHABLE), True),
        (UpstreamError("", http_status=200, reason=BROKE_OFF), True),
        (UpstreamError("", http_status=200, reason=INCOMPLETE), False),
        (UpstreamError("", http_status=200, reason=TOO_LARGE), False),
        (UpstreamTimedOutError(""), False),
        (UpstreamError(""), False),
    ],
)
def test_which_failures_pass(error, again):
    assert (delay_s(error) is not None) == again


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        *((UpstreamError("", http_status=status), True) for status in (500, 502, 503, 504, 529, 599)),
        *((UpstreamError("", reason=reason), True) for reason in (UNREACHABLE, UNAVAILABLE)),
        *((UpstreamError("", http_status=200, reason=reason), True) for reason in (BROKE_OFF, INCOMPLETE)),
        (UpstreamTimedOutError(""), True),
        (UpstreamError(""), True),
        *((UpstreamError("", http_status=status), False) for status in (200, 204, 301, 600)),
        *((UpstreamRefusedError("", http_status=status), False) for status in (400, 401, 403, 404, 408, 429)),
        (UpstreamError("", http_status=200, reason=TOO_LARGE), False),
    ],
)
def test_which_failures_are_outages(error, outage):
    assert is_outage(error) == outage
    error.reached = True
    assert not is_outage(error)


def test_the_wait_doubles_up_to_its_ceiling_and_the_tries_end():
    error = UpstreamError("", http_status=503)
    assert [delay_s(error, tries) for tries in range(1, 6)] == [1.0, 2.0, 4.0, 4.0, None]
    assert delay_s(error, settings=RetrySettings(max_retries=0)) is None


def test_the_jitter_is_full():
    waits = [
        retry_delay_s(UpstreamError("", http_status=503), 3, 100.0, SETTINGS, random.Random(seed))
        for seed in range(200)
    ]
    assert all(0 <= wait <= 4 for wait in waits)
    assert min(waits) < 0.4
    assert max(waits) > 3.6


def test_retry_after_is_a_floor_and_its_excess_an_end():
    assert delay_s(UpstreamError("", http_status=503, retry_after_s=3.0)) == 3.0
    assert delay_s(UpstreamError("", http_status=503, retry_after_s=0.0)) == 1.0
    assert delay_s(UpstreamError("", http_status=503, retry_after_s=4.1)) is None


def test_no_wait_reaches_the_deadline():
    assert delay_s(UpstreamError("", http_status=503), remaining_s=1.0) is None
    assert delay_s(UpstreamError("", http_status=503), remaining_s=1.1) == 1.0
    assert delay_s(UpstreamError("", http_status=503), remaining_s=-1.0) is None


@pytest.mark.parametrize(
    ("value", "wanted_s"),
    [
        (None, None),
        ("", None),
        ("2", 2.0),
        (" 2.5 ", 2.5),
        ("-3", 0.0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Thu, 99 Foo 2020 00:00:00 GMT", None),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999999999", None),
        (formatdate(NOW_S + 7, usegmt=True), 7.0),
        (formatdate(NOW_S + 7), 7.0),
        (formatdate(NOW_S - 7, usegmt=True), 0.0),
    ],
)
def test_a_retry_after_in_each_of_its_forms(value, wanted_s):
    assert parse_retry_after(value, NOW_S) == wanted_s


@pytest.mark.parametrize(
    ("error", "whose"),
    [
        *((UpstreamRefusedError("", http_status=status), Blame.REQUEST) for status in (400, 409, 413, 422, 451)),
        *((UpstreamRefusedError("", http_status=status), Blame.MODEL) for status in (403, 404)),
        *((UpstreamRefusedError("", http_status=status), Blame.TARGET) for status in (401, 402, 408)),
        *((UpstreamError("", http_status=status), Blame.TARGET) for status in (301, 500, 502, 503, 504, 529)),
        (UpstreamRefusedError("", http_status=429), Blame.TARGET),
        (UpstreamRefusedError("", http_status=429, retry_after_s=0.0), Blame.TARGET),
        (UpstreamRefusedError("", http_status=429, retry_after_s=1.0), Blame.BUSY),
        (UpstreamError("", http_status=503, retry_after_s=1.0), Blame.TARGET),
        (UpstreamTimedOutError(""), Blame.TARGET),
        (UpstreamError("", reason=UNREACHABLE), Blame.TARGET),
        (UpstreamError("", http_status=200, reason=BROKE_OFF), Blame.TARGET),
        (UpstreamError("", http_status=200, reason=INCOMPLETE), Blame.TARGET),
        (UpstreamError("no JSON", http_status=200), Blame.TARGET),
        (UpstreamError("", http_status=200, reason=TOO_LARGE), Blame.REQUEST),
        (UpstreamError(""), Blame.TARGET),
    ],
)
def test_whose_fault_it_was(error, whose):
    assert blame(error) is whose


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "1500.5", "retry-after": "9"}, 1.5005),
        ({"retry-after-ms": "0", "retry-after": "9"}, 0.0),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "-5", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "inf", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "", "retry-after": "9"}, 9.0),
        ({"retry-after": "9"}, 9.0),
        ({}, None),
    ],
)
def test_a_wait_in_milliseconds_counts_before_one_in_seconds(headers, seconds):
    assert asked_wait_s(headers, NOW_S) == seconds
