"""Which web pages a browser lets call."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from semcache.errors import PermissionDeniedError
from semcache.server.http.origins import Origins, is_preflight
from semcache.settings import HttpSettings

PAGE = b"https://chat.example"
ORIGINS = Origins(["https://chat.example"])


def asking(**headers: bytes) -> dict[bytes, bytes]:
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return {b"origin": PAGE, b"access-control-request-method": b"POST", **named}


def test_without_allowed_origins_no_answer_speaks_of_origins() -> None:
    assert Origins(()).answer_headers({b"origin": PAGE}) == []


@pytest.mark.parametrize("origin", [b"", b"null", b"*", b"https://chat.example.evil", b"http://chat.example"])
def test_another_origin_may_not_read_an_answer(origin: bytes) -> None:
    assert ORIGINS.answer_headers({b"origin": origin}) == [(b"vary", b"origin")]
    with pytest.raises(PermissionDeniedError, match="allowed_origins") as refused:
        ORIGINS.preflight_headers(asking(origin=origin))
    assert refused.value.reason == "ORIGIN_NOT_ALLOWED"


def test_an_allowed_origin_is_named_and_never_gets_cookies() -> None:
    headers = dict(ORIGINS.answer_headers({b"origin": PAGE}))
    assert headers[b"access-control-allow-origin"] == PAGE
    assert b"x-cache-status" in headers[b"access-control-expose-headers"]
    assert headers[b"vary"] == b"origin"
    assert b"access-control-allow-credentials" not in headers


def test_a_preflight_allows_the_headers_that_are_asked_for() -> None:
    names = b"authorization,content-type, x-semcache-namespace"
    headers = dict(ORIGINS.preflight_headers(asking(access_control_request_headers=names)))
    assert headers[b"access-control-allow-headers"] == names
    assert b"POST" in headers[b"access-control-allow-methods"]
    assert b"access-control-allow-private-network" not in headers


@pytest.mark.parametrize("names", [b"", b"a b", b"a\x00", b"a,,b", b"(a)"])
def test_what_is_no_list_of_header_names_isnt_repeated(names: bytes) -> None:
    headers = ORIGINS.preflight_headers(asking(access_control_request_headers=names))
    assert b"access-control-allow-headers" not in dict(headers)


def test_a_page_of_a_public_address_may_call_a_private_one_if_its_origin_may() -> None:
    headers = ORIGINS.preflight_headers(asking(access_control_request_private_network=b"true"))
    assert dict(headers)[b"access-control-allow-private-network"] == b"true"


def test_a_preflight_is_an_options_call_with_an_origin_and_a_method() -> None:
    assert is_preflight("OPTIONS", asking())
    assert not is_preflight("POST", asking())
    assert not is_preflight("OPTIONS", {b"origin": PAGE})
    assert not is_preflight("OPTIONS", {b"access-control-request-method": b"POST"})


@pytest.mark.parametrize(
    "origin",
    [
        "https://chat.example",
        "http://localhost:3000",
        "http://[::1]:3000",
        "chrome-extension://abcdefghijklmnop",
        "https://chat.example:80",
    ],
)
def test_an_origin_is_set_as_browsers_write_it(origin: str) -> None:
    assert HttpSettings(allowed_origins=(origin,)).allowed_origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "",
        "chat.example",
        "https://*.example",
        "https://chat.example/",
        "https://chat.example/path",
        "https://Chat.example",
        "https://chat.example:443",
        "http://chat.example:80",
        "https://user@chat.example",
        "https://chat.example\r\nx: y",
    ],
)
def test_what_no_browser_sends_as_an_origin_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(ValidationError, match="an origin is a scheme"):
        HttpSettings(allowed_origins=(origin,))
