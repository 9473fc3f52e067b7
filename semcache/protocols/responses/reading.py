"""Reads a whole `response`: its text, its calls of tools, its usage, why it ended, and the error that it reports.

Reference: https://platform.openai.com/docs/api-reference/responses/object.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NoReturn

from semcache.errors import UpstreamRefusedError
from semcache.model import Answer, Usage, finish_text, text_of
from semcache.protocols.counts import details, possible
from semcache.protocols.usage import completion_usage
from semcache.protocols.wire import read_object, refuse, well_formed

INCOMPLETE = "incomplete"
FAILED = "failed"
_RATE_LIMIT = "rate_limit_exceeded"
OF_THE_REQUEST = frozenset(
    {
        "invalid_prompt",
        "data_residency_mismatch",
        "bio_policy",
        "misalignment_policy_violation",
        "invalid_image",
        "invalid_image_format",
        "invalid_base64_image",
        "invalid_image_url",
        "image_too_large",
        "image_too_small",
        "image_parse_error",
        "image_content_policy_violation",
        "invalid_image_mode",
        "image_file_too_large",
        "unsupported_image_media_type",
        "empty_image_file",
        "failed_to_download_image",
        "image_file_not_found",
    }
)
"""Codes of a failed response whose cause is the request: no other target would answer it, and none is to blame."""
_SERVERS_TOOLS: Mapping[str, str] = {
    "web_search_call": "web_searches",
    "file_search_call": "storage_searches",
    "code_interpreter_call": "code_executions",
}
"""Parts of a usage that are calls of the provider's own tools, by the type of their items."""
_GENERATED = ("content", "summary", "text", "refusal", "name", "arguments", "input", "code")
"""Fields of items and of their parts that hold what a model generated."""


def read_response(body: bytes, *, target_model: str = "") -> Answer:
    """Return a target's `response` as an Answer; the body stays as it is.

    A count that is missing or impossible is 0, and the usage flagged as estimated: the caller estimates such counts.

    Raises:
        UpstreamError: the body is no JSON, or has no output, or the response has failed.
    """
    response = read_object(body, "an answer")
    check_error(response, body)
    output = response.get("output")
    if not isinstance(output, list):
        refuse("an answer without output", body)
    items = [item for item in output if isinstance(item, dict)]
    model = response.get("model")
    return Answer(
        body=body,
        model=well_formed(model) if isinstance(model, str) and model else target_model,
        finish_reason=_finish_reason(response),
        usage=response_usage(response),
        text=well_formed(output_text(items)),
        target_model=target_model,
        tool_calls=any(_calls_tool(item) for item in items),
    )


def check_error(response: Mapping[str, Any], body: bytes) -> None:
    """Return if a response reports no error.

    Args:
        response: the response, or any other answer in its place.
        body: the bytes in which it stands.

    Raises:
        UpstreamRefusedError: it has failed by the request's own fault, or by a limit of the provider's.
        UpstreamError: it has failed.
    """
    error = response.get("error")
    if error or response.get("status") == FAILED:
        raise_error(error, body)


def raise_error(error: object, body: bytes) -> NoReturn:
    """Raise what an error means that came with a status of success.

    Args:
        error: the error, mostly an object with a `code` and a `message`.
        body: the bytes in which it stands.

    Raises:
        UpstreamRefusedError: it is the request's own fault (400), or a limit of the provider's (429).
        UpstreamError: any other error.
    """
    told = error if isinstance(error, dict) else {"message": error}
    code, message = told.get("code"), told.get("message")
    said = f"an error ({str(message)[:200]})" if message else "an error"
    if not isinstance(code, str) or code not in OF_THE_REQUEST | {_RATE_LIMIT}:
        refuse(said, body)
    shown = {
        "message": message,
        "type": told.get("type") or ("rate_limit_error" if code == _RATE_LIMIT else "invalid_request_error"),
        "code": code,
        "param": told.get("param"),
    }
    raise UpstreamRefusedError(
        f"The upstream sent {said}.",
        http_status=HTTPStatus.TOO_MANY_REQUESTS if code == _RATE_LIMIT else HTTPStatus.BAD_REQUEST,
        body=json.dumps({"error": shown}).encode(),
        content_type="application/json",
    )


def output_text(items: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of all messages among the items of an output."""
    return "".join(text_of(item.get("content")) for item in items if item.get("type") == "message")


def response_usage(response: Mapping[str, Any]) -> Usage:
    """Return the usage of a response, with the tier that served it and the calls of the provider's own tools.

    The tokens of images that a tool made aren't part of the counts, so such a usage is flagged as estimated.
    """
    usage = completion_usage(response)
    output = response.get("output")
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    kinds = [item.get("type") for item in items if _is_charged(item)]
    counts = {part: kinds.count(kind) for kind, part in _SERVERS_TOOLS.items()}
    searches = possible(details(details(response, ("tool_usage",)), ("web_search",)), ("num_requests",))[0]
    if searches is not None:
        counts["web_searches"] = searches
    parts = {**{part: count for part, count in counts.items() if count}, **dict(usage.parts)}
    estimated = usage.estimated or "image_generation_call" in kinds
    return usage._replace(parts=tuple(sorted(parts.items())), estimated=estimated)


def _is_charged(item: Mapping[str, Any]) -> bool:
    """Whether a call of a tool has a price: to open a found page is a call of the search too, and has none."""
    action = item.get("action")
    return not isinstance(action, dict) or action.get("type") in (None, "search")


def text_of_response(body: bytes) -> str:
    """Return all text of a `response` JSON that was read before, with its summaries of thoughts and calls of tools."""
    return generated_text(json.loads(body.decode("utf-8-sig")))


def generated_text(response: Mapping[str, Any]) -> str:
    """Return all text that a response has generated."""
    output = response.get("output")
    items = output if isinstance(output, list) else []
    return well_formed("".join(text for item in items for text in _generated(item)))


def _generated(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _generated(part)
    elif isinstance(value, dict):
        for name in _GENERATED:
            yield from _generated(value.get(name))


def _calls_tool(item: Mapping[str, Any]) -> bool:
    kind = item.get("type")
    return isinstance(kind, str) and (kind.endswith("_call") or kind == "mcp_approval_request")


def _finish_reason(response: Mapping[str, Any]) -> str:
    """Return why a response ended: its status or, where it is incomplete, the reason for that."""
    status = finish_text(response.get("status"))
    if status == INCOMPLETE:
        details = response.get("incomplete_details")
        status = finish_text(details.get("reason") if isinstance(details, dict) else None) or INCOMPLETE
    return well_formed(status)
