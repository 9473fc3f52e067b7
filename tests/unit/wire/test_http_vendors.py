"""Whose API a call speaks, and how an error is written in each."""

from __future__ import annotations

import json

import pytest

from semcache.errors import InvalidRequestError, SemcacheError, UpstreamError
from semcache.model import ApiProtocol
from semcache.protocols import FORMS
from semcache.wire.http_vendors import ANTHROPIC, OPENAI, Vendor, openai_fields, vendor_of

OF_ANTHROPIC = {b"anthropic-version": b"2023-06-01"}


@pytest.mark.parametrize(
    ("path", "without", "with_header"),
    [
        ("/v1/messages", ANTHROPIC, ANTHROPIC),
        ("/v1/messages/", ANTHROPIC, ANTHROPIC),
        ("/v1/messages/batches/b-1", ANTHROPIC, ANTHROPIC),
        ("/v1/messagesque", OPENAI, ANTHROPIC),
        ("/v1/chat/completions", OPENAI, OPENAI),
        ("/v1/chat/completions/c-1", OPENAI, OPENAI),
        ("/v1/chat", OPENAI, ANTHROPIC),
        ("/v1/responses/r-1", OPENAI, OPENAI),
        ("/v1/embeddings", OPENAI, OPENAI),
        ("/v1/models", OPENAI, ANTHROPIC),
        ("/v1/files", OPENAI, ANTHROPIC),
        ("/semcache/v1/stats", OPENAI, OPENAI),
        ("/", OPENAI, ANTHROPIC),
        ("", OPENAI, ANTHROPIC),
    ],
)
def test_the_path_says_whose_api_it_is_and_elsewhere_the_version_does(
    path: str, without: Vendor, with_header: Vendor
) -> None:
    assert vendor_of(path, {b"x-api-key": b"k"}) is without
    assert vendor_of(path, OF_ANTHROPIC) is with_header


def test_each_protocol_belongs_to_a_vendor() -> None:
    vendors = {protocol: vendor_of("/v1" + form.path, {}) for protocol, form in FORMS.items()}
    assert [protocol for protocol, vendor in vendors.items() if vendor is ANTHROPIC] == [ApiProtocol.MESSAGES]


def test_openais_body_names_the_field_that_is_wrong() -> None:
    error = InvalidRequestError("No.", reason="INVALID_PARAMETER", hint="Do.", metadata={"field": "stream"})
    fields = {
        "message": "No. Do.",
        "type": "invalid_request_error",
        "code": "INVALID_PARAMETER",
        "param": "stream",
    }
    assert openai_fields(error) == fields
    assert json.loads(OPENAI.error_body(error, "r-1")) == {"error": fields}


@pytest.mark.parametrize("vendor", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
def test_an_upstreams_own_error_passes_as_it_came_and_what_is_no_error_doesnt(vendor: Vendor) -> None:
    assert vendor.error_body(UpstreamError("No.", http_status=500, body=b"<html>"), "r-1") == b"<html>"
    for status in (200, 302, 401, 403, None):
        body = json.loads(vendor.error_body(UpstreamError("No.", http_status=status, body=b"<html>"), "r-1"))
        assert body["error"]["code"] == "UPSTREAM_FAILED"


@pytest.mark.parametrize("vendor", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
def test_a_lone_surrogate_of_an_upstream_doesnt_break_the_body(vendor: Vendor) -> None:
    vendor.error_body(SemcacheError("half \ud800"), "r-1").decode()
