"""Typed events of the responses API: their names, the last one, and an error that ends a stream."""

from __future__ import annotations

import json

import pytest
from openai.types.responses import ResponseErrorEvent

from semcache.errors import UpstreamError
from semcache.server.http.calls import not_found
from semcache.server.http.protocols import CHAT, named_event, type_of
from semcache.server.http.responses import RESPONSES, error_event


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'{"type":"response.created","a":1}', b"response.created"),
        (b'\n { "type" :\t"response.created"}', b"response.created"),
        (b'{"a":{"type":"x"},"type":"response.created"}', b"response.created"),
        (b'\xef\xbb\xbf{"a":1,"type":"b"}', b"b"),
        (b'{"type":"a\\nb"}', b""),
        (b'{"type":"a b"}', b""),
        (b'{"type":"\\u00e4"}', b""),
        (b'{"type":3}', b""),
        (b'{"a":"type"}', b""),
    ],
)
def test_an_event_has_the_name_of_its_type(data: bytes, kind: bytes) -> None:
    assert type_of(data) == kind
    event = named_event(data)
    assert event.startswith(b"event: %b\ndata: " % kind if kind else b"data: ")
    assert event.endswith(b"\n\n")


@pytest.mark.parametrize(
    ("kind", "closes"),
    [("completed", True), ("incomplete", True), ("created", False), ("output_text.done", False), ("failed", False)],
)
def test_the_last_event_of_a_whole_stream_is_known(kind: str, closes: bool) -> None:
    event = json.dumps({"type": f"response.{kind}", "response": {"type": "response.completed"}}).encode()
    assert RESPONSES.closes(event) is closes
    assert not CHAT.closes(event)


def test_an_error_event_is_one_of_the_api() -> None:
    name, data, *end = error_event(UpstreamError("It broke\noff."), 7).split(b"\n")
    assert (name, end) == (b"event: error", [b"", b""])
    event = ResponseErrorEvent.model_validate_json(data.removeprefix(b"data: "))
    assert (event.code, event.message, event.sequence_number) == ("UPSTREAM_FAILED", "It broke\noff.", 7)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/responses/resp_1", "kept at the provider"),
        ("/v1/responses", "isn't served."),
        ("/v1/other", "isn't served."),
    ],
)
def test_a_path_of_a_kept_response_says_where_it_is(path: str, says: str) -> None:
    assert says in str(not_found(path))
