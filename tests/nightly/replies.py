"""What a malicious upstream answers: statuses, headers, encodings, JSON and events of any shape."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import strategies as st

from semcache.protocols import replay_chunks
from semcache.testing.upstream import completion_body
from semcache.testing.upstream_server import Ending, Reply
from tests.nightly import inputs

_WHOLE = completion_body("A whole answer.", model="m")
_CHUNKS = tuple(replay_chunks(_WHOLE, include_usage=True))
_usages = st.dictionaries(
    st.sampled_from(("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "cost")),
    inputs.values,
)
_completions = st.builds(
    lambda choices, usage, more: {"id": "c", "object": "chat.completion", "choices": choices, "usage": usage, **more},
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "index": inputs.values,
                "finish_reason": st.sampled_from(("stop", "length", "")) | inputs.values,
                "message": st.fixed_dictionaries(
                    {}, optional={"role": inputs.values, "content": inputs.values, "tool_calls": inputs.values}
                )
                | inputs.values,
                "delta": st.fixed_dictionaries(
                    {}, optional={"role": inputs.values, "content": inputs.values, "tool_calls": inputs.values}
                )
                | inputs.values,
                "logprobs": inputs.values,
            },
        )
        | inputs.values,
        max_size=3,
    )
    | inputs.values,
    _usages | inputs.values,
    st.dictionaries(
        st.sampled_from(("model", "created", "error", "system_fingerprint", "service_tier", "object")),
        inputs.values,
        max_size=2,
    ),
)
_answers = st.one_of(
    inputs.changed(st.just(_WHOLE)),
    _completions.map(inputs.as_json),
    inputs.changed(_completions.map(inputs.as_json)),
    inputs.nested.map(str.encode),
    st.binary(max_size=300),
)
_lines = st.one_of(
    st.sampled_from([b"data: " + chunk for chunk in _CHUNKS]),
    _completions.map(lambda value: b"data: " + inputs.as_json(value)),
    st.sampled_from(
        (
            b"data: [DONE]",
            b"data:",
            b": ping",
            b"event: x",
            b"data: {",
            b"",
            b"\xff",
            b"data: \xef\xbb\xbf{}",
            b"retry: 1",
        )
    ),
    inputs.changed(st.sampled_from([b"data: " + chunk for chunk in _CHUNKS])),
)
_streams = st.builds(
    lambda lines, end: tuple(line + end for line in lines),
    st.lists(_lines, max_size=8),
    st.sampled_from((b"\n\n", b"\r\n\r\n", b"\r\r", b"\n", b"")),
)


def _encoded(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.compress(body, mtime=0)
    return zlib.compress(body) if encoding == "deflate" else body


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """Draw an answer: a completion, a stream of events or neither, with headers and an encoding that may not fit."""
    streams = draw(st.booleans())
    pieces = draw(_streams) if streams else (draw(_answers),)
    if draw(st.integers(0, 4)) == 0:
        pieces = (pieces[0] * draw(st.integers(1, 2000)),) if pieces else ()
    said, used = draw(
        st.sampled_from((("", ""), ("gzip", "gzip"), ("gzip", ""), ("deflate", "deflate"), ("br", ""), ("x", "")))
    )
    body = b"".join(pieces)
    coded = (draw(inputs.changed(st.just(_encoded(body, used)), 1)),) if used else pieces
    kinds = ("text/event-stream", "application/json", "text/html", "", "application/json; charset=utf-16")
    headers = {"content-type": draw(st.sampled_from(kinds))}
    if said:
        headers["content-encoding"] = said
    extra = ("retry-after", "x-ratelimit-remaining-requests", "set-cookie", "x-request-id", "content-language")
    headers |= draw(
        st.dictionaries(
            st.sampled_from(extra),
            st.sampled_from(("", "0", "-1", "1e400", "x" * 5000, "Mon, 1 Jan 1", "\xe9")),
            max_size=2,
        )
    )
    return Reply(
        status=draw(
            st.sampled_from((200, 200, 200, 200, 201, 204, 206, 301, 304, 400, 401, 404, 413, 422, 429, 500, 503, 599))
        ),
        headers=headers,
        pieces=coded,
        chunked=draw(st.booleans()),
        ending=draw(st.sampled_from((Ending.END, Ending.END, Ending.END, Ending.CUT, Ending.RESET))),
    )
