"""Anthropic's messages over HTTP: the headers of the protocol, its errors, and the names of its events."""

import json

import pytest

from semcache.errors import (
    BudgetExceededError,
    InvalidRequestError,
    MessageTooLargeError,
    OverLimitError,
    OverloadedError,
    PermissionDeniedError,
    SemcacheError,
    UnauthenticatedError,
    UnknownModelError,
    UpstreamError,
    UpstreamRefusedError,
    UpstreamTimedOutError,
)
from semcache.server.http.call import HttpCall
from semcache.server.http.messages import MESSAGES, anthropic_event, protocol_headers
from semcache.server.http.origins import Origins
from semcache.server.http.protocols import named_event
from semcache.wire.http_vendors import ANTHROPIC

VERSION = ("anthropic-version", "2023-06-01")
OWN = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'


def headers_of(*pairs):
    scope = {"path": "/v1/messages", "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs]}
    return protocol_headers(HttpCall(scope, print, lambda: "id", Origins(())))


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ((), (VERSION,)),
        ((VERSION,), (VERSION,)),
        ((VERSION, VERSION), (VERSION,)),
        ((("anthropic-version", "2026-10-21"),), (("anthropic-version", "2026-10-21"),)),
        ((("anthropic-version", " "),), (VERSION,)),
        ((("anthropic-beta", " b-2 , a-1,,b-2"),), (VERSION, ("anthropic-beta", "a-1,b-2"))),
        ((("anthropic-beta", "b-2"), ("anthropic-beta", "a-1")), (VERSION, ("anthropic-beta", "a-1,b-2"))),
        ((("anthropic-beta", ""),), (VERSION,)),
        ((("anthropic-user-profile-id", "u-1"),), (VERSION, ("anthropic-user-profile-id", "u-1"))),
        ((("x-api-key", "sk-1"),), (VERSION,)),
    ],
)
def test_the_protocols_headers_are_read_in_one_form(sent, read):
    assert headers_of(*sent) == read


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ((("anthropic-version", "2099-01-01"),), "UNKNOWN_VERSION"),
        ((("anthropic-version", "2023-01-01"),), "UNKNOWN_VERSION"),
        ((VERSION, ("anthropic-version", "2026-10-21")), "UNKNOWN_VERSION"),
        ((("anthropic-version", "2023-06-01\xa0x"),), "INVALID_HEADER"),
        ((("anthropic-beta", "a\xff"),), "INVALID_HEADER"),
        ((("anthropic-beta", "a\tb"),), "INVALID_HEADER"),
        ((("anthropic-user-profile-id", "a"), ("anthropic-user-profile-id", "b")), "DUPLICATE_HEADER"),
    ],
)
def test_a_header_without_a_clear_meaning_is_refused(sent, reason):
    with pytest.raises(InvalidRequestError) as caught:
        headers_of(*sent)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequestError("No."), "invalid_request_error"),
        (UnauthenticatedError("No."), "authentication_error"),
        (PermissionDeniedError("No."), "permission_error"),
        (UnknownModelError("No."), "not_found_error"),
        (MessageTooLargeError("No."), "request_too_large"),
        (OverLimitError("No."), "rate_limit_error"),
        (BudgetExceededError("No.", retry_after_s=1.0, hint="", metadata={}), "rate_limit_error"),
        (OverloadedError("No."), "overloaded_error"),
        (UpstreamError("No."), "api_error"),
        (UpstreamError("No.", http_status=529), "overloaded_error"),
        (UpstreamError("No.", http_status=402), "billing_error"),
        (UpstreamRefusedError("No.", http_status=401, body=OWN), "api_error"),
        (UpstreamTimedOutError("No."), "timeout_error"),
        (SemcacheError("No."), "api_error"),
    ],
)
def test_an_error_has_anthropics_type(error, kind):
    assert json.loads(ANTHROPIC.error_body(error, "r-1")) == {
        "type": "error",
        "error": {"type": kind, "message": "No.", "code": error.reason},
        "request_id": "r-1",
    }


def test_an_upstreams_own_error_passes_as_it_came():
    error = UpstreamError("No.", http_status=529, body=OWN)
    assert ANTHROPIC.error_body(error, "r-1") == OWN
    assert anthropic_event(error, "r-1") == b"event: error\ndata: " + OWN + b"\n\n"


@pytest.mark.parametrize(
    "body", [b"<html>", b'{"error": "no"}', b'{"type": "error", "error": "no"}', b"[" * 9_000, b""]
)
def test_a_stream_never_ends_with_an_error_of_another_shape(body):
    name, data, *rest = anthropic_event(UpstreamError("No.", http_status=500, body=body), "r-1").split(b"\n")
    assert (name, rest) == (b"event: error", [b"", b""])
    assert json.loads(data.removeprefix(b"data: "))["error"]["type"] == "api_error"


def test_a_lone_surrogate_of_an_upstream_doesnt_break_the_body():
    ANTHROPIC.error_body(SemcacheError("half \ud800"), "r-1").decode()


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (b'{"type":"ping"}', b'event: ping\ndata: {"type":"ping"}\n\n'),
        (b'{ "type" : "ping"}', b'event: ping\ndata: { "type" : "ping"}\n\n'),
        (b'{"a":{"type":"b"},"type":"c"}', b'event: c\ndata: {"a":{"type":"b"},"type":"c"}\n\n'),
        (b'{"a":1,\n"type":"c"}', b'event: c\ndata: {"a":1,\ndata: "type":"c"}\n\n'),
        (b'{"type":"a\\nb"}', b'data: {"type":"a\\nb"}\n\n'),
        (b'{"type":3}', b'data: {"type":3}\n\n'),
        (b"{}", b"data: {}\n\n"),
    ],
)
def test_an_event_has_the_name_of_its_type(data, sent):
    assert named_event(data) == sent


def test_a_message_ends_with_its_own_last_event():
    assert MESSAGES.end == b""
    assert MESSAGES.closes(b'{"type":"message_stop"}')
    assert not MESSAGES.closes(b'{"type":"message_delta"}')
