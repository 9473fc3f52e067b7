"""What the connection itself answers: in the shape of the client's API, as far as the head has come."""

from __future__ import annotations

import json

import pytest

from semcache.errors import OverloadedError
from semcache.server.http.origins import Origins
from semcache.server.http.refusals import Refusals

REFUSALS = Refusals(lambda: "new-id", Origins(["https://chat.example"]))
ERROR = OverloadedError("No room.", reason="TOO_MANY_CONNECTIONS")


def answered(url: bytes = b"", *pairs: tuple[bytes, bytes]) -> tuple[str, dict[str, str], dict[str, object]]:
    head, _, body = REFUSALS.answer(ERROR, url, pairs).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["content-length"]) == len(body)
    return first, headers, json.loads(body)


def test_it_is_a_whole_answer_and_the_last_one() -> None:
    first, headers, body = answered()
    assert first == "HTTP/1.1 503 Service Unavailable"
    assert (headers["connection"], headers["retry-after"], headers["x-request-id"]) == ("close", "1", "new-id")
    assert body["error"] == {
        "message": "No room.",
        "type": "server_error",
        "code": "TOO_MANY_CONNECTIONS",
        "param": None,
    }


@pytest.mark.parametrize(
    ("url", "anthropics"),
    [
        (b"/v1/messages", True),
        (b"/v1/messages?beta=true", True),
        (b"/v1/mess%61ges", True),
        (b"http://semcache.example/v1/messages", True),
        (b"/v1/mess", False),
        (b"/v1/chat/completions?a=/v1/messages", False),
        (b"http:// no url", False),
        (b"\xff", False),
        (b"*", False),
    ],
)
def test_the_path_says_the_shape(url: bytes, anthropics: bool) -> None:
    _, headers, body = answered(url)
    assert ("request_id" in body, "request-id" in headers) == (anthropics, anthropics)


def test_a_clients_own_id_is_told_again() -> None:
    _, headers, body = answered(b"/v1/messages", (b"x-request-id", b"own"))
    assert (headers["x-request-id"], headers["request-id"], body["request_id"]) == ("own", "own", "own")
    _, headers, _ = answered(b"/v1/messages", (b"x-request-id", b"with a blank"))
    assert headers["x-request-id"] == "new-id"


def test_a_page_of_an_allowed_origin_may_read_it() -> None:
    _, headers, _ = answered(b"/v1/messages", (b"origin", b"https://chat.example"))
    assert headers["access-control-allow-origin"] == "https://chat.example"
    _, headers, _ = answered(b"/v1/messages", (b"origin", b"https://other.example"))
    assert "access-control-allow-origin" not in headers
