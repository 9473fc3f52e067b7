"""Takes the whole `response` out of a stream of typed events, and reads what came of one that broke off.

Reference: https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from semcache.model import LostAnswer
from semcache.protocols.lost import LostForm, ReceivedBody, lost_of, read_leniently, read_lost_of
from semcache.protocols.responses.reading import check_error, generated_text, output_text, raise_error
from semcache.protocols.usage import find_usage, joined_usage
from semcache.protocols.wire import dump, read_object, refuse, well_formed

ERROR = "error"
COMPLETED = "response.completed"
INCOMPLETE = "response.incomplete"
_FAILED = frozenset({"response.failed", "response.cancelled"})
_ITEM_DONE = "response.output_item.done"
_TEXT = "response.output_text.delta"
_ARGUMENTS = "response.function_call_arguments.delta"
_OF_NO_TEXT = ("response.audio.delta",)
"""Events whose delta is no text."""


class ResponseAssembler:
    """Takes a stream's events. The whole answer stands in the last one, and the others must have brought its text."""

    def __init__(self) -> None:
        self._response: dict[str, Any] | None = None
        self._items: dict[int, Any] = {}
        self._pieces: dict[str, dict[tuple[int, int], list[str]]] = {_TEXT: {}, _ARGUMENTS: {}}
        """By the type of their events, and by the places of their item and of their part."""

    def add(self, chunk: bytes) -> None:
        """Add one event. Events of an unknown type count for nothing.

        Args:
            chunk: the event's JSON.

        Raises:
            UpstreamError: it is no such JSON, or it reports an error or a response that has failed.
        """
        event = read_object(chunk, "an event")
        kind = event.get("type")
        if event.get("error") or kind == ERROR:
            raise_error(event.get("error") or event, chunk)
        if not isinstance(kind, str):
            refuse("an event without a type", chunk)
        if kind in self._pieces and isinstance(event.get("delta"), str):
            place = (_place(event, "output_index"), _place(event, "content_index"))
            self._pieces[kind].setdefault(place, []).append(event["delta"])
        elif kind == _ITEM_DONE:
            self._items[_place(event, "output_index")] = event.get("item")
        elif kind in {COMPLETED, INCOMPLETE} or kind in _FAILED:
            self._end(kind, event.get("response"), chunk)

    def _end(self, kind: str, response: object, chunk: bytes) -> None:
        if not isinstance(response, dict):
            refuse("a last event without a response", chunk)
        check_error(response, chunk)
        if kind in _FAILED:
            refuse("a response that has failed", chunk)
        output = response.get("output")
        if not isinstance(output, list | None):
            refuse("a response whose output is no list", chunk)
        # Some servers leave out of the last event what the items' own events brought.
        self._response = {**response, "output": output or [item for _, item in sorted(self._items.items())]}

    def finish(self) -> None:
        """End the stream at a [DONE], which says nothing here: the last event is the protocol's own."""

    @property
    def is_complete(self) -> bool:
        """Whether the last event came, with the whole response."""
        return self._response is not None

    @property
    def is_over(self) -> bool:
        """Whether the last event came, so that nothing may follow it."""
        return self.is_complete

    @property
    def flaw(self) -> str:
        """Why the response isn't stored: not_mergeable when its text isn't what the pieces before brought, or ""."""
        output = (self._response or {}).get("output", [])
        items = [item for item in output if isinstance(item, dict)]
        calls = (item.get("arguments") for item in items if item.get("type") == "function_call")
        whole = {_TEXT: output_text(items), _ARGUMENTS: "".join(call for call in calls if isinstance(call, str))}
        came = {
            kind: "".join(piece for _, pieces in sorted(places.items()) for piece in pieces)
            for kind, places in self._pieces.items()
        }
        return "" if all(not text or text == whole[kind] for kind, text in came.items()) else "not_mergeable"

    def whole(self) -> bytes:
        """Return the JSON of the whole response."""
        return dump(self._response or {})


def _place(event: Mapping[str, Any], name: str) -> int:
    place = event.get(name)
    return place if isinstance(place, int) else 0


def read_lost_response(received: ReceivedBody, target_model: str) -> LostAnswer | None:
    """Return the lost `response` in what a target has sent; None when there is none that would be charged.

    Args:
        received: what has come.
        target_model: the model that the target was asked for.
    """
    return read_lost_of(_LOST, received, target_model)


def _answers(value: Mapping[str, Any]) -> bool:
    """Return whether a response or an event has a part of an answer or a usage, and isn't an error."""
    if value.get("type") == ERROR:
        return False
    response = value.get("response")
    if isinstance(response, dict):
        # A response that begins is an answer to come; one that has failed may have a usage.
        return response.get("status") != "failed" or _answers(response)
    return bool(value.get("output")) or find_usage(value) is not None or isinstance(value.get("delta"), str)


def _read_events(events: Iterable[bytes], target_model: str) -> LostAnswer:
    """Return the lost answer of a stream that broke off after these events; what can't be read is passed over."""
    told: dict[str, Any] = {}
    usage: Mapping[str, Any] | None = None
    pieces: list[str] = []
    for data in events:
        event = read_leniently(data.decode("utf-8", "replace"))
        if not isinstance(event, dict):
            continue
        response, delta = event.get("response"), event.get("delta")
        if isinstance(response, dict):
            told = {**told, **response}
            usage = joined_usage(usage, find_usage(response))
        if isinstance(delta, str) and event.get("type") not in _OF_NO_TEXT:
            pieces.append(delta)
    return lost_of({**told, "usage": usage}, well_formed("".join(pieces)), target_model)


_LOST = LostForm(answers=_answers, mark='"created_at"', chunks=_read_events, generated=generated_text)
