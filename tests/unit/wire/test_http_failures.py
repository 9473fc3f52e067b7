"""Errors as HTTP answers."""

import pytest

from semcache.errors import (
    BudgetExceededError,
    NotFoundError,
    OverLimitError,
    OverloadedError,
    SemcacheError,
    UpstreamError,
    UpstreamTimedOutError,
)
from semcache.wire.http_failures import failure_headers, passed_on, status_of


def headers_of(error: SemcacheError) -> dict[bytes, bytes]:
    return dict(failure_headers(error, status_of(error)))


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (OverLimitError("No."), b"1"),
        (OverloadedError("No.", retry_after_s=2.1), b"3"),
        (UpstreamError("No.", http_status=503, body=b"x", retry_after_s=0.2), b"1"),
        (UpstreamError("No.", http_status=500), None),
        (UpstreamTimedOutError("No."), None),
    ],
)
def test_whoever_may_try_again_is_told_when(error: SemcacheError, wait: bytes | None) -> None:
    assert headers_of(error).get(b"retry-after") == wait
    assert b"x-should-retry" not in headers_of(error)


def test_what_waiting_cant_help_soon_isnt_tried_again() -> None:
    budget = BudgetExceededError("No.", retry_after_s=3600.0, hint="", metadata={})
    assert (status_of(budget), headers_of(budget)[b"retry-after"]) == (429, b"3600")
    assert headers_of(budget)[b"x-should-retry"] == b"false"
    miss = NotFoundError("No.", reason="CACHE_ONLY_MISS")
    assert (status_of(miss), headers_of(miss)[b"x-should-retry"]) == (504, b"false")


@pytest.mark.parametrize("kind", ["text/html\r\nset-cookie: a=b", "text/html; charset=\u00e9", "", "a" * 300])
def test_a_content_type_that_is_no_header_is_left_out(kind: str) -> None:
    error = UpstreamError("No.", http_status=500, body=b"<html>", content_type=kind)
    assert headers_of(error)[b"content-type"] == b"application/json"


@pytest.mark.parametrize("status", [200, 302, None])
def test_what_is_no_error_of_an_upstream_isnt_passed_on(status: int | None) -> None:
    error = UpstreamError("No.", http_status=status, body=b"what came")
    assert status_of(error) == 502
    assert passed_on(error) is None
