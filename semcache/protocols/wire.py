"""The OpenAI-compatible wire: reads a `chat.completion` into an Answer, and replays it as a stream of chunks.

Reference: https://platform.openai.com/docs/api-reference/chat/object and …/chat-streaming.
"""

from __future__ import annotations

import json
import math
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from semcache.errors import UpstreamError
from semcache.model import Answer, finish_text, is_deeper, text_of
from semcache.protocols.usage import completion_usage
from semcache.request import has_more_values

_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
MAX_LEVELS = 200
"""Levels of an upstream's JSON. Python reads more than it can write: a deeper answer could not be replayed."""
_MAX_VALUES = 2_000_000
"""Values of an upstream's JSON: Python reads it in one step that nothing interrupts, so many in a fifth of a second. An
answer of 4,000 tokens with 20 log probabilities each has fewer, and so have embeddings of 16 MiB."""
_ERROR_BYTES = 2048
_PIECE_CHARS = 48
"""Characters of a replayed chunk: a few words, as providers send them."""
_MAX_PIECES = 64
"""Chunks of a replayed text: more would only cost messages."""
_SNAPSHOT = re.compile(r"[-@:](latest|\d{4}-\d{2}-\d{2}|\d{3,8})$")
"""`-2024-08-06`, `-0613`, `@20240229`, `-002`: a model's dated or numbered snapshot."""
_OF_THE_HEAD = frozenset({"id", "object", "created", "model", "choices", "usage"})


def read_answer(body: bytes, *, target_model: str = "") -> Answer:
    """Return a target's `chat.completion` as an Answer; the body stays as it is.

    A count that is missing or impossible is 0, and the usage flagged as estimated: the caller estimates such counts.

    Raises:
        UpstreamError: the body is no JSON, reports an error with a status of success, or has no choices.
    """
    value = read_json(body, "an answer")
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices:
        refuse("an answer without choices", body)
    messages = [choice.get("message") if isinstance(choice, dict) else None for choice in choices]
    first, finish_reason = messages[0], choices[0].get("finish_reason") if isinstance(choices[0], dict) else None
    if not isinstance(first, dict) or not all(isinstance(message, dict) for message in messages):
        refuse("a choice without a message", body)
    model = value.get("model")
    return Answer(
        body=body,
        model=well_formed(model) if isinstance(model, str) and model else target_model,
        finish_reason=well_formed(finish_text(finish_reason)),
        usage=completion_usage(value),
        text=well_formed(text_of(first.get("content"))),
        target_model=target_model,
        tool_calls=any(message.get("tool_calls") or message.get("function_call") for message in messages if message),
        flaw="" if all(has_replayable_calls(each) for each in messages if each) else "malformed_tool_calls",
    )


def has_replayable_calls(message: Mapping[str, Any]) -> bool:
    """Whether a stream can bring a message's calls as its completion has them: a list of objects, and an object."""
    calls, function = message.get("tool_calls"), message.get("function_call")
    return (calls is None or _are_objects(calls)) and isinstance(function, dict | None)


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def is_same_model(asked: str, answered: str) -> bool:
    """Whether two names may mean one model: provider prefixes, case and snapshots aside."""
    return asked == answered or _bare_model(asked) == _bare_model(answered)


def _bare_model(name: str) -> str:
    return _SNAPSHOT.sub("", name.rpartition("/")[2].lower())


def read_json(body: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object in `body`.

    Args:
        body: UTF-8, with or without a byte order mark.
        what: what the body should be, for the error's sentence ("a chunk").

    Raises:
        UpstreamError: the body is no JSON object, has too many values or levels, or reports an error.
    """
    value = read_object(body, what)
    error = value.get("error")
    if error:
        message = error.get("message") if isinstance(error, dict) else error
        refuse(f"an error ({str(message)[:200]})" if message else "an error", body)
    return value


def read_object(body: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object in `body`, whatever it says.

    Args:
        body: UTF-8, with or without a byte order mark.
        what: what the body should be, for the error's sentence ("a chunk").

    Raises:
        UpstreamError: the body is no JSON object, or has too many values or levels.
    """
    if has_more_values(body, _MAX_VALUES):
        refuse(f"{what} with more than {_MAX_VALUES:,} JSON values", body)
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=no_constant)
    except UnicodeDecodeError:
        refuse(f"{what} that is not UTF-8", body)
    except (ValueError, RecursionError):
        start = body[:256].lstrip().lower()
        if not start:
            refuse("nothing", body)
        refuse(
            f"{what} that is HTML" if start.startswith((b"<!doctype", b"<html")) else f"{what} that is no JSON", body
        )
    if not isinstance(value, dict):
        refuse(f"{what} that is no JSON object", body)
    if is_deeper(value, body, MAX_LEVELS):
        refuse(f"{what} nested deeper than {MAX_LEVELS} levels", body)
    return value


def refuse(received: str, body: bytes, reason: str = "") -> NoReturn:
    """Raise the UpstreamError of a target that answered with a status of success, but without an answer.

    Args:
        received: what came instead, for the error's sentence.
        body: its bytes, of which the first are kept.
        reason: the error's reason; empty: that of every UpstreamError.
    """
    raise UpstreamError(
        f"The upstream sent {received}.",
        http_status=200,
        body=body[:_ERROR_BYTES],
        reason=reason,
        hint="Check that the target's base_url leads to an API of the call's protocol.",
    )


def well_formed(text: str) -> str:
    """Return `text` with halves of surrogate pairs joined or replaced: JSON can escape them, UTF-8 can't hold them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def dump(value: object) -> bytes:
    """Return a value as compact JSON. A number beyond all floats, such as 1e400, becomes the largest one."""
    try:
        return _COMPACT.encode(value).encode()
    except UnicodeEncodeError:  # Half a surrogate pair: JSON expresses it by an escape.
        return json.dumps(_finite(value), separators=(",", ":")).encode()
    except ValueError:  # Python has read such a number as infinity, which no JSON has.
        return dump(_finite(value))


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return math.copysign(sys.float_info.max, value)
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return {name: _finite(item) for name, item in value.items()} if isinstance(value, dict) else value


def replay_chunks(body: bytes, *, include_usage: bool) -> Iterator[bytes]:
    """Yield a stored `chat.completion` as the `chat.completion.chunk` JSON that a provider would have streamed.

    First comes the role, then the text in a few dozen pieces at most, then the finish reason. With `include_usage`, a
    last chunk without choices has the usage, where the completion has one.

    Args:
        body: a completion that `read_answer` took.
        include_usage: whether the caller asked for `stream_options.include_usage`.
    """
    return CompletionReplay(body).chunks(include_usage=include_usage)


class CompletionReplay:
    """A completion that was read once, and is replayed as chunks any number of times.

    Attributes:
        size_bytes: bytes that it takes in memory, about: the body and what was read of it.
    """

    def __init__(self, body: bytes) -> None:
        """Read `body`, a completion that `read_answer` took."""
        text = body.decode("utf-8-sig")
        self.size_bytes: int = len(body) + sys.getsizeof(text)
        self._completion: dict[str, Any] = json.loads(text)
        self._id = self._completion.get("id") or f"chatcmpl-{zlib.crc32(body):08x}"

    def chunks(self, *, include_usage: bool) -> Iterator[bytes]:
        """Yield the chunks as `replay_chunks` does, each made when it is asked for."""
        completion = self._completion
        shared = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": completion.get("created") or 0,
            "model": completion.get("model") or "",
            **{name: value for name, value in completion.items() if name not in _OF_THE_HEAD},
        }
        head = dump(shared)[:-1] + b',"choices":['
        tail = b'],"usage":null}' if include_usage else b"]}"
        choices = completion["choices"]
        indices = [choice.get("index") for choice in choices]
        if len({index for index in indices if type(index) is int and index >= 0}) < len(choices):
            indices = list(range(len(choices)))  # Two choices of one index would be one choice to a client.
        for index, choice in zip(indices, choices, strict=True):
            yield from _replay_choice(choice, index, head, tail)
        if include_usage and completion.get("usage") is not None:
            yield head + b'],"usage":' + dump(completion["usage"]) + b"}"


def _replay_choice(choice: Mapping[str, Any], index: int, head: bytes, tail: bytes) -> Iterator[bytes]:
    start = head + b'{"index":%d,"delta":' % index
    end = b',"finish_reason":null}' + tail
    message = choice["message"]
    calls = message.get("tool_calls")
    numbered = calls is not None and _are_objects(calls)
    of_their_own = {"role", "content", "tool_calls"} if numbered else {"role", "content"}
    rest = {name: value for name, value in message.items() if name not in of_their_own and value is not None}
    opening = {"role": message.get("role") or "assistant", "content": None if message.get("content") is None else ""}
    yield start + dump(opening) + end
    if rest:
        yield start + dump(rest) + end
    for piece in _replay_content(message.get("content")):
        yield start + b'{"content":' + dump(piece) + b"}" + end
    if numbered and calls:
        # Some upstreams give all calls of a plain answer one index, which would make them one call here.
        indexed = [{**call, "index": number} for number, call in enumerate(calls)]
        yield start + b'{"tool_calls":' + dump(indexed) + b"}" + end
    logprobs = b"" if choice.get("logprobs") is None else b'"logprobs":' + dump(choice["logprobs"]) + b","
    finish_reason = choice.get("finish_reason") or ("tool_calls" if calls else "stop")
    yield start + b"{}," + logprobs + b'"finish_reason":' + dump(finish_reason) + b"}" + tail


def _replay_content(content: object) -> Iterator[object]:
    """Yield the pieces of a content in their order: texts of a few words, and each other part in a list of its own."""
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            yield from text_pieces(part)
        elif isinstance(part, dict) and part.keys() == {"type", "text"} and text_of(part):
            yield from text_pieces(text_of(part))
        elif part is not None:
            yield [part]


def text_pieces(text: str) -> Iterator[str]:
    """Yield `text` in pieces of a few words, cut behind spaces where there are any; about `_MAX_PIECES` at most."""
    size = max(_PIECE_CHARS, len(text) // _MAX_PIECES)
    position = 0
    while position < len(text):
        end = position + size
        space = text.find(" ", end, end + size)
        end = space + 1 if space >= 0 else end
        yield text[position:end]
        position = end


def no_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which are no JSON, though Python reads them: a `parse_constant` of json.loads.

    Raises:
        ValueError: always.
    """
    raise ValueError(name)
