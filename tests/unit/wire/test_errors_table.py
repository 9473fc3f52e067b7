"""Every error has its gRPC code, its HTTP status and its OpenAI error type."""

import inspect
from http import HTTPStatus

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from semcache import errors
from semcache.server.grpc.status import code_of, status_of
from semcache.wire.errors_table import ERRORS, UPSTREAM_STATUSES, internal_error, row_of

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.SemcacheError) and kind.__module__ == errors.__name__
]
ROWS = [*ERRORS.values(), *UPSTREAM_STATUSES.values()]


def test_every_class_of_errors_has_its_own_row():
    assert set(ERRORS) == set(CLASSES)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_one_that_its_fronts_can_say(row):
    assert row.grpc_code in grpc.StatusCode.__members__
    assert HTTPStatus(row.http_status).value >= 400
    blames_the_caller = row.openai_type != "server_error"
    # 424 is the exception: the caller's request failed by this server's own key.
    assert blames_the_caller is (row.http_status < 500 and row.http_status != HTTPStatus.FAILED_DEPENDENCY)


@pytest.mark.parametrize(
    ("error", "code", "http_status", "openai_type"),
    [
        (errors.InvalidRequestError("x"), "INVALID_ARGUMENT", 400, "invalid_request_error"),
        (errors.UnauthenticatedError("x"), "UNAUTHENTICATED", 401, "authentication_error"),
        (errors.OverLimitError("x"), "RESOURCE_EXHAUSTED", 429, "rate_limit_error"),
        (errors.MessageTooLargeError("x"), "RESOURCE_EXHAUSTED", 413, "invalid_request_error"),
        (errors.StoreUnusableError("x"), "INTERNAL", 500, "server_error"),
        (errors.StoreFullError("x"), "RESOURCE_EXHAUSTED", 507, "server_error"),
        (internal_error(), "INTERNAL", 500, "server_error"),
    ],
)
def test_rows_by_class(error, code, http_status, openai_type):
    assert row_of(error) == (code, http_status, openai_type)
    assert code_of(error) is grpc.StatusCode[code]


def test_a_class_without_a_row_has_its_nearest_parents():
    class Special(errors.StoreFullError):
        pass

    assert row_of(Special("x")) == ERRORS[errors.StoreFullError]


@pytest.mark.parametrize("http_status", sorted(UPSTREAM_STATUSES))
def test_an_upstreams_status_counts_before_the_class(http_status):
    for kind in (errors.UpstreamError, errors.UpstreamRefusedError, errors.UpstreamTimedOutError):
        assert row_of(kind("x", http_status=http_status)) == UPSTREAM_STATUSES[http_status]


@pytest.mark.parametrize(
    ("error", "code", "http_status"),
    [
        (errors.UpstreamRefusedError("x", http_status=418), "FAILED_PRECONDITION", 424),
        (errors.UpstreamRefusedError("x"), "FAILED_PRECONDITION", 424),
        (errors.UpstreamError("x", http_status=500), "UNAVAILABLE", 502),
        (errors.UpstreamError("x"), "UNAVAILABLE", 502),
        (errors.UpstreamTimedOutError("x"), "DEADLINE_EXCEEDED", 504),
    ],
)
def test_other_statuses_of_an_upstream_have_their_classs_row(error, code, http_status):
    assert row_of(error)[:2] == (code, http_status)


def test_a_grpc_status_has_the_sentence_the_reason_and_the_time_to_wait():
    error = errors.OverloadedError("full.", hint="Wait.", retry_after_s=2.5)
    status = status_of(error)
    assert (status.code, status.message) == (grpc.StatusCode.UNAVAILABLE.value[0], "full. Wait.")
    info, retry = ErrorInfo(), RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert (info.reason, info.domain) == ("OVERLOADED", "semcache")
    # It is spread at random, so that those that were refused together don't come back together.
    assert 2_500_000_000 <= retry.retry_delay.ToNanoseconds() <= 3_750_000_000
    assert len(status_of(errors.NotFoundError("gone.")).details) == 1
