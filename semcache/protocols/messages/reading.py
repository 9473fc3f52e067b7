"""Reads a whole message, and the errors that come with a status of success."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from semcache.errors import UpstreamError, UpstreamRefusedError
from semcache.model import Answer, finish_text, text_of
from semcache.protocols.usage import completion_usage
from semcache.protocols.wire import dump, read_object, refuse, well_formed

ERROR_STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that each kind of error has, by https://platform.claude.com/docs/en/api/errors."""
_ERROR_BYTES = 64 * 1024
_OF_SERVERS = frozenset({"server_tool_use", "mcp_tool_use"})
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_SAID = ("thinking", "text")
"""Fields of a block that hold what the model has generated, beside the input of a tool."""


def read_message(body: bytes, *, target_model: str = "") -> Answer:
    """Return a target's `message` as an Answer; the body stays as it is.

    A count that is missing or impossible is 0, and the usage flagged as estimated: the caller estimates such counts.

    Raises:
        UpstreamError: the body is no JSON, has no content, or reports an error with a status of success. Such an error
            has the status that its kind has.
    """
    value = read_event(body, "an answer")
    content = value.get("content")
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        refuse("an answer without content", body)
    model = value.get("model")
    return Answer(
        body=body,
        model=well_formed(model) if isinstance(model, str) and model else target_model,
        finish_reason=well_formed(finish_text(value.get("stop_reason"))),
        usage=completion_usage(value),
        text=well_formed(text_of([block for block in content if block.get("type") == "text"])),
        target_model=target_model,
        tool_calls=any(calls_tool(block) for block in content),
    )


def read_event(body: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object of an answer or an event.

    Args:
        body: UTF-8, with or without a byte order mark.
        what: what the body should be, for the error's sentence ("an event").

    Raises:
        UpstreamError: it is no JSON object, or it is an error.
    """
    value = read_object(body, what)
    error = value.get("error")
    if error or value.get("type") == "error":
        raise _failure(error if isinstance(error, dict) else {"message": error}, body)
    return value


def calls_tool(block: Mapping[str, Any]) -> bool:
    """Return whether a block calls a tool of the caller. The provider runs its own tools itself."""
    kind = block.get("type")
    return isinstance(kind, str) and kind.endswith("tool_use") and kind not in _OF_SERVERS


def generated_text(body: bytes) -> str:
    """Return all text of a `message` JSON that was read before: thoughts, texts and the inputs of tools."""
    return text_of_message(json.loads(body.decode("utf-8-sig")))


def text_of_message(message: Mapping[str, Any]) -> str:
    """Return all text that a message has generated; whatever has an odd form has none."""
    content = message.get("content")
    return well_formed(
        "".join(text for block in (content if isinstance(content, list) else ()) for text in _said(block))
    )


def _said(block: object) -> Iterator[str]:
    if not isinstance(block, dict):
        return
    yield from (block[name] for name in _SAID if isinstance(block.get(name), str))
    if isinstance(block.get("input"), dict | list) and block["input"]:
        yield json.dumps(block["input"], ensure_ascii=False)


def without_thoughts(body: bytes) -> bytes:
    """Return a message as another request may get it than the one that it was made for: without the model's thoughts.

    They are about the other's words. Their signatures bind them to its conversation, so that the API wouldn't take them
    back in this one; a turn without thoughts it takes.
    """
    if b"thinking" not in body:
        return body
    message = json.loads(body.decode("utf-8-sig"))
    kept = [block for block in message["content"] if not _is_thought(block)]
    return body if len(kept) == len(message["content"]) else dump({**message, "content": kept})


def _is_thought(block: Mapping[str, Any]) -> bool:
    kind = block.get("type")
    return isinstance(kind, str) and kind in _THOUGHTS


def _failure(error: Mapping[str, Any], body: bytes) -> UpstreamError:
    """Return an error that came with a status of success, as if it had come with its own status."""
    kind, message = error.get("type"), error.get("message")
    status = ERROR_STATUSES.get(kind, HTTPStatus.OK) if isinstance(kind, str) else HTTPStatus.OK
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return (UpstreamRefusedError if refused else UpstreamError)(
        f"The upstream sent an error ({str(message)[:200]})." if message else "The upstream sent an error.",
        http_status=status,
        body=body[:_ERROR_BYTES],
        content_type="application/json",
    )
