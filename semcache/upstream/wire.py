"""The OpenAI-compatible wire: a `chat.completion` read into an Answer, and told again as a stream of its chunks.

Reference: https://platform.openai.com/docs/api-reference/chat/object and …/chat-streaming.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from semcache.errors import UpstreamError
from semcache.model import Answer, Usage

MAX_TOKENS = 10**12
"""A larger count is nonsense, and its price would leave 64 bits of nanodollars."""

_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_ERROR_BYTES = 2048
_PIECE_CHARS = 48
_MAX_PIECES = 64
_OF_THE_HEAD = frozenset({"id", "object", "created", "model", "choices", "usage"})


def read_answer(
    body: bytes, *, target_model: str = "", route: str = "", latency_s: float = 0.0, attempts: int = 1
) -> Answer:
    """A target's `chat.completion` as an Answer; the body stays as it is.

    Counts that are missing or nonsense give zeros, flagged as estimated: they are still to be estimated.

    Raises:
        UpstreamError: no JSON, an error in a success's clothes, or no choices; says what came instead.
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
        finish_reason=well_formed(finish_reason) if isinstance(finish_reason, str) else "",
        usage=read_usage(value.get("usage")),
        text=well_formed(text_of(first.get("content"))),
        target_model=target_model,
        route=route,
        tool_calls=any(message.get("tool_calls") or message.get("function_call") for message in messages if message),
        latency_s=latency_s,
        attempts=attempts,
    )


def read_usage(value: object) -> Usage:
    """The counts of a `usage` object. What can't be counts gives zeros, flagged as estimated."""
    unknown = Usage(estimated=True)
    if not isinstance(value, dict):
        return unknown
    found = value.get("prompt_tokens_details")
    details = found if isinstance(found, dict) else {}
    # Routers tell what was written to the provider's cache under names of their own (LiteLLM the last two).
    written = (
        details.get("cache_write_tokens")
        or details.get("cache_creation_tokens")
        or value.get("cache_creation_input_tokens")
    )
    counts = [
        _count(number)
        for number in (
            value.get("prompt_tokens"),
            details.get("cached_tokens") or 0,
            value.get("completion_tokens"),
            written or 0,
        )
    ]
    input_tokens, cached_input_tokens, output_tokens, cache_write_tokens = counts
    # No prompt is empty, and the tokens read from and written to the provider's cache are among the prompt's.
    if min(counts) < 0 or input_tokens == 0 or cached_input_tokens + cache_write_tokens > input_tokens:
        return unknown
    return Usage(input_tokens, cached_input_tokens, output_tokens, cache_write_tokens=cache_write_tokens)


def model_of(chunk: bytes) -> str:
    """The model that a `chat.completion.chunk` names; empty for none."""
    model = read_json(chunk, "a chunk").get("model")
    return well_formed(model) if isinstance(model, str) else ""


def _count(value: object) -> int:
    """A count of tokens; -1 for what can't be one. A bool is an int to Python, and no count."""
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else -1


def read_json(body: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `body`.

    Raises:
        UpstreamError: it isn't one, or it reports an error.
    """
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_no_constant)
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
    error = value.get("error")
    if error:
        told = error.get("message") if isinstance(error, dict) else error
        refuse(f"an error ({str(told)[:200]})" if told else "an error", body)
    return value


def refuse(came: str, body: bytes, reason: str = "") -> NoReturn:
    """The target answered with success, but not with an answer."""
    raise UpstreamError(
        f"The upstream sent {came}.",
        http_status=200,
        body=body[:_ERROR_BYTES],
        reason=reason,
        hint="Check that the target's base_url leads to an OpenAI-compatible API.",
    )


def text_of(content: object) -> str:
    """The text of a message's content: a string, or a list of parts of which the texts count."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def well_formed(text: str) -> str:
    """`text` with halves of surrogate pairs joined or replaced: JSON's escapes can spell what UTF-8 can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def dump(value: object) -> bytes:
    """Compact JSON."""
    try:
        return _COMPACT.encode(value).encode()
    except UnicodeEncodeError:  # Half a surrogate pair: an escape can spell it.
        return json.dumps(value, separators=(",", ":")).encode()


def replay_chunks(body: bytes, *, include_usage: bool) -> Iterator[bytes]:
    """A stored `chat.completion` as `chat.completion.chunk` JSON, as a provider would have streamed it.

    The role first, the text in a few dozen pieces at most, the finish reason; with `include_usage`, last, a chunk that
    has no choices and tells the usage, where the completion tells one.

    Args:
        body: a completion that `read_answer` took.
        include_usage: the caller asked for `stream_options.include_usage`.
    """
    completion = json.loads(body.decode("utf-8-sig"))
    shared = {
        "id": completion.get("id") or f"chatcmpl-{zlib.crc32(body):08x}",
        "object": "chat.completion.chunk",
        "created": completion.get("created") or 0,
        "model": completion.get("model") or "",
        **{name: value for name, value in completion.items() if name not in _OF_THE_HEAD},
    }
    head = dump(shared)[:-1] + b',"choices":['
    tail = b'],"usage":null}' if include_usage else b"]}"
    for position, choice in enumerate(completion["choices"]):
        yield from _replay_choice(choice, position, head, tail)
    if include_usage and completion.get("usage") is not None:
        yield head + b'],"usage":' + dump(completion["usage"]) + b"}"


def _replay_choice(choice: Mapping[str, Any], position: int, head: bytes, tail: bytes) -> Iterator[bytes]:
    index = choice.get("index")
    start = head + b'{"index":%d,"delta":' % (index if type(index) is int else position)
    end = b',"finish_reason":null}' + tail
    message = choice["message"]
    content = message.get("content")
    text = content if content is None else text_of(content)
    rest = {
        name: value
        for name, value in message.items()
        if name not in {"role", "content", "tool_calls"} and value is not None
    }
    opening = {"role": message.get("role") or "assistant", "content": text and ""}
    yield start + dump(opening) + end
    if rest:
        yield start + dump(rest) + end
    for piece in _pieces(text or ""):
        yield start + b'{"content":' + dump(piece) + b"}" + end
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        numbered = [{"index": number, **call} for number, call in enumerate(calls) if isinstance(call, dict)]
        yield start + b'{"tool_calls":' + dump(numbered) + b"}" + end
    logprobs = b"" if choice.get("logprobs") is None else b'"logprobs":' + dump(choice["logprobs"]) + b","
    yield start + b"{}," + logprobs + b'"finish_reason":' + dump(choice.get("finish_reason")) + b"}" + tail


def _pieces(text: str) -> Iterator[str]:
    """`text` cut behind spaces where there are any, into a few words each, `_MAX_PIECES` at most or thereabouts."""
    size = max(_PIECE_CHARS, len(text) // _MAX_PIECES)
    position = 0
    while position < len(text):
        end = position + size
        space = text.find(" ", end, end + size)
        end = space + 1 if space >= 0 else end
        yield text[position:end]
        position = end


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and its like are no JSON, though Python reads them.
