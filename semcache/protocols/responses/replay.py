"""Replays a whole `response` as the typed events that a provider would have streamed."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from semcache.protocols.responses.assembly import COMPLETED, INCOMPLETE
from semcache.protocols.wire import dump, text_pieces

_LAST: Mapping[object, str] = {
    "incomplete": INCOMPLETE,
    "queued": "response.queued",
    "in_progress": "response.in_progress",
}
"""The last event by the response's status; that of any other status says that it is complete."""
_GROWING_ITEMS: Mapping[object, tuple[str, str]] = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
    "mcp_call": ("arguments", "response.mcp_call_arguments"),
    "code_interpreter_call": ("code", "response.code_interpreter_call_code"),
}
"""Items of which one field comes in pieces: the field, and the beginning of its events' type."""


@dataclass(frozen=True, slots=True)
class _Growing:
    """A part whose text comes in pieces: the field, the beginning of its events' type, and how other fields begin."""

    field: str
    event: str
    begun: Mapping[str, Any]


_LOGPROBS = "logprobs"
_TEXT = _Growing("text", "response.output_text", {"annotations": [], _LOGPROBS: []})
_GROWING_PARTS: Mapping[object, _Growing] = {
    "output_text": _TEXT,
    "refusal": _Growing("refusal", "response.refusal", {}),
    "reasoning_text": _Growing("text", "response.reasoning_text", {}),
}


class ResponseReplay:
    """A response that was read once, and is replayed as events any number of times.

    Attributes:
        size_bytes: bytes that it takes in memory, about: the body and what was read of it.
    """

    def __init__(self, body: bytes) -> None:
        """Read `body`, a response that `read_response` took."""
        text = body.decode("utf-8-sig").strip()
        self.size_bytes: int = len(body) + sys.getsizeof(text)
        self._whole = text.encode()
        self._response: dict[str, Any] = json.loads(text)

    def chunks(self, *, include_usage: bool) -> Iterator[bytes]:
        """Yield the events that a provider would have streamed.

        Their sequence numbers rise by one from 0. The last event has the response itself, byte for byte.

        Args:
            include_usage: of no effect: the last event has the usage always.
        """
        del include_usage
        response = self._response
        numbers = count()
        begun = {**response, **{name: None for name in _UNKNOWN_YET if name in response}}
        begun |= {"status": "in_progress", "output": []}
        for kind in ("response.created", "response.in_progress"):
            yield dump({"type": kind, "sequence_number": next(numbers), "response": begun})
        for index, item in enumerate(response["output"]):
            if isinstance(item, dict):
                yield from _ItemReplay(item, index, numbers).events()
        status = response.get("status")
        last = _LAST.get(status, COMPLETED) if isinstance(status, str) else COMPLETED
        head = dump({"type": last, "sequence_number": next(numbers)})
        yield head[:-1] + b',"response":' + self._whole + b"}"


def replay_response(body: bytes) -> Iterator[bytes]:
    """Return the events of a stored response, as `ResponseReplay` makes them."""
    return ResponseReplay(body).chunks(include_usage=True)


_UNKNOWN_YET = ("usage", "error", "incomplete_details", "completed_at")
"""Fields of a response that are null until it ends."""


class _ItemReplay:
    """The events of one item of the output."""

    def __init__(self, item: Mapping[str, Any], index: int, numbers: Iterator[int]) -> None:
        self._item = item
        self._index = index
        self._numbers = numbers
        item_id = item.get("id")
        self._id = item_id if isinstance(item_id, str) else f"item_{zlib.crc32(dump(item)):08x}"

    def events(self) -> Iterator[bytes]:
        """Yield them: the item is added without what comes in pieces, grows, and is done."""
        item = self._item
        growing = _GROWING_ITEMS.get(_type(item))
        parts = {name: item[name] for name in ("summary", "content") if isinstance(item.get(name), list)}
        added = {**item, **{name: [] for name in parts}}
        if "status" in item:
            added["status"] = "in_progress"
        text = item.get(growing[0]) if growing else None
        if growing and isinstance(text, str):
            added[growing[0]] = ""
        yield self._event("response.output_item.added", item=added)
        for name, listed in parts.items():
            for position, part in enumerate(listed):
                if isinstance(part, dict):
                    yield from (self._summary if name == "summary" else self._part)(position, part)
        if growing and isinstance(text, str):
            yield from self._pieces(growing[1], text)
            yield self._of_item(f"{growing[1]}.done", **{growing[0]: text})
        yield self._event("response.output_item.done", item=item)

    def _summary(self, index: int, part: Mapping[str, Any]) -> Iterator[bytes]:
        text = part.get("text")
        yield self._of_item("response.reasoning_summary_part.added", summary_index=index, part={**part, "text": ""})
        if isinstance(text, str):
            yield from self._pieces("response.reasoning_summary_text", text, summary_index=index)
            yield self._of_item("response.reasoning_summary_text.done", summary_index=index, text=text)
        yield self._of_item("response.reasoning_summary_part.done", summary_index=index, part=part)

    def _part(self, index: int, part: Mapping[str, Any]) -> Iterator[bytes]:
        growing = _GROWING_PARTS.get(_type(part))
        text = part.get(growing.field) if growing else None
        if growing is None or not isinstance(text, str):
            yield self._of_item("response.content_part.added", content_index=index, part=part)
        else:
            begun = {name: value for name, value in growing.begun.items() if name in part}
            yield self._of_item(
                "response.content_part.added", content_index=index, part={**part, **begun, growing.field: ""}
            )
            pieces: Mapping[str, Any] = {_LOGPROBS: []} if growing is _TEXT else {}
            whole = {_LOGPROBS: part.get(_LOGPROBS) or []} if growing is _TEXT else {}
            yield from self._pieces(growing.event, text, content_index=index, **pieces)
            yield from self._annotations(index, part.get("annotations"))
            yield self._of_item(f"{growing.event}.done", content_index=index, **{growing.field: text}, **whole)
        yield self._of_item("response.content_part.done", content_index=index, part=part)

    def _annotations(self, index: int, annotations: object) -> Iterator[bytes]:
        for position, annotation in enumerate(annotations if isinstance(annotations, list) else ()):
            yield self._of_item(
                "response.output_text.annotation.added",
                content_index=index,
                annotation_index=position,
                annotation=annotation,
            )

    def _pieces(self, kind: str, text: str, **fields: Any) -> Iterator[bytes]:
        for piece in text_pieces(text):
            yield self._of_item(f"{kind}.delta", delta=piece, **fields)

    def _of_item(self, kind: str, **fields: Any) -> bytes:
        return self._event(kind, item_id=self._id, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": next(self._numbers), "output_index": self._index, **fields}
        return dump(event)


def _type(value: Mapping[str, Any]) -> object:
    kind = value.get("type")
    return kind if isinstance(kind, str) else None
