"""The answer of a Store: a caller's completion is read, and a completion is built around a caller's text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NoReturn

from semcache.errors import InvalidRequestError
from semcache.model import Answer, Usage, finish_text, standard_or, text_of
from semcache.protocols.counts import MAX_TOKENS
from semcache.protocols.usage import completion_usage
from semcache.protocols.wire import has_replayable_calls
from semcache.request import check_values
from semcache.settings import LimitSettings
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.texts import check_text

_NANOS_PER_S = 1_000_000_000
_HINT = "Send the body of an OpenAI chat completion."

UNKNOWN_USAGE = Usage(estimated=True)
"""The answer came without counts, so they must be estimated."""


@dataclass(frozen=True, slots=True)
class _Completion:
    """The parts of a chat completion that semcache reads."""

    text: str
    model: str
    finish_reason: str
    usage: Usage
    tool_calls: bool


def stored_answer(
    message: pb.StoreRequest, *, alias: str, answer_id: str, now_s: float, limits: LimitSettings
) -> Answer:
    """Return the answer that a Store brings.

    Its usage is `UNKNOWN_USAGE` when neither message nor JSON has valid counts. Its route and target model are empty,
    since no route of this server answered. A text that ends within a surrogate pair is kept, as models end so.

    Args:
        message: the Store.
        alias: the requested model; the answering model, too, when neither message nor JSON names one.
        answer_id: the id of a completion that is built around a text.
        now_s: wall-clock seconds, the time of such a completion.
        limits: of its bytes and of the values of its JSON.

    Raises:
        InvalidRequestError: there is no answer, it is too long or has too many values, its JSON is no chat
            completion, its counts are impossible, its latency is negative, or one of its names can't be told
            (INVALID_TEXT).
    """
    usage = _usage(message.usage) if message.HasField("usage") else UNKNOWN_USAGE
    latency_s = message.upstream_latency.seconds + message.upstream_latency.nanos / _NANOS_PER_S
    if latency_s < 0:
        raise InvalidRequestError("upstream_latency is negative.", hint="Leave it out when it is unknown.")
    form = message.WhichOneof("answer")
    if form is None:
        raise InvalidRequestError("a Store needs an answer.", hint="Set openai_json or text.")
    if form == "openai_json":
        body = message.openai_json
        _refuse_long(body, limits.answer_bytes)
        check_values(body, limits, "The answer")
        read = _read(body)
    else:
        read = _Completion(message.text, "", "", UNKNOWN_USAGE, tool_calls=False)
        body = b""
    model = message.served_model or read.model or alias
    finish_reason = message.finish_reason or read.finish_reason or "stop"
    usage = usage if message.HasField("usage") else read.usage
    check_text(usage.service_tier, "service_tier")
    if not body:
        body = _build(read.text, model, finish_reason, usage, answer_id=answer_id, created_s=int(now_s))
        _refuse_long(body, limits.answer_bytes)
    return Answer(
        body=body,
        model=check_text(model, "model"),
        finish_reason=check_text(finish_reason, "finish_reason"),
        usage=usage,
        text=read.text,
        degraded=message.degraded,
        tool_calls=read.tool_calls,
        latency_s=latency_s,
    )


def _refuse_long(body: bytes, max_bytes: int) -> None:
    if len(body) > max_bytes:
        raise InvalidRequestError(f"the answer has {len(body)} bytes.", hint=f"At most {max_bytes} are allowed.")


def _usage(usage: pb.Usage) -> Usage:
    counts = (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.cache_write_tokens)
    if not all(0 <= count <= MAX_TOKENS for count in counts):
        raise InvalidRequestError(
            f"usage has a count outside 0 to {MAX_TOKENS}.", hint="Leave usage out when it is unknown."
        )
    if usage.cached_input_tokens + usage.cache_write_tokens > usage.input_tokens:
        raise InvalidRequestError(
            "usage has more cached input tokens than input tokens.",
            hint="input_tokens includes those read from and written to the provider's cache.",
        )
    return Usage(
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.output_tokens,
        usage.estimated,
        usage.cache_write_tokens,
        standard_or(usage.service_tier),
    )


def _read(body: bytes) -> _Completion:
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise InvalidRequestError("the answer is nested too deeply.", hint=_HINT) from error
    except ValueError as error:
        raise InvalidRequestError(f"the answer is not JSON: {error}.", hint=_HINT) from error
    try:
        choices = value["choices"]
        messages = [choice["message"] for choice in choices]
        finish_reason = choices[0].get("finish_reason")
        calls_tools = any(message.get("tool_calls") or message.get("function_call") for message in messages)
        content = messages[0].get("content")
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise InvalidRequestError("the answer has no choices, or one without a message.", hint=_HINT) from error
    if not all(map(has_replayable_calls, messages)):
        raise InvalidRequestError("the answer's tool_calls are no list of objects.", hint=_HINT)
    return _Completion(
        text=text_of(content),
        model=_text(value.get("model")),
        finish_reason=finish_text(finish_reason),
        usage=completion_usage(value),
        tool_calls=calls_tools,
    )


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _build(text: str, model: str, finish_reason: str, usage: Usage, *, answer_id: str, created_s: int) -> bytes:
    completion: dict[str, object] = {
        "id": answer_id,
        "object": "chat.completion",
        "created": created_s,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
    }
    if usage != UNKNOWN_USAGE:
        completion["usage"] = {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        }
    return json.dumps(completion, ensure_ascii=False, separators=(",", ":")).encode()
