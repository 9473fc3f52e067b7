"""Puts a message's content together from a stream's pieces, in the order in which they came: texts and parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, groupby
from typing import Any

from semcache.protocols.wire import well_formed

_GROWING: Mapping[object, str] = {"text": "text", "thinking": "thinking"}
"""Types of parts that come in several pieces, and the field that grows: a text, or a list of such parts."""


class GrowingContent:
    """The content of one message.

    Text alone gives a string, as a plain answer has it. As soon as there is a part, the content is a list, in which
    text is a part too.
    """

    def __init__(self) -> None:
        self.is_sound = True
        """Whether every piece was a text or a part. Anything else keeps its place, but no client can read it."""
        self._items: list[Any] = []

    def __bool__(self) -> bool:
        """Whether there is text or a part."""
        return any(item != "" for item in self._items)

    def add(self, piece: object) -> None:
        """Add what one chunk brings: a text, a part, or a list of them."""
        for item in piece if isinstance(piece, list) else [piece]:
            if item is not None:
                self.is_sound = self.is_sound and isinstance(item, str | dict)
                self._items.append(item)

    def value(self) -> str | list[Any] | None:
        """Return the content; None when nothing came."""
        if not self._items:
            return None
        if all(isinstance(item, str) for item in self._items):
            return well_formed("".join(self._items))
        return _joined({"type": "text", "text": item} if isinstance(item, str) else item for item in self._items)


def _joined(parts: Iterable[Any]) -> list[Any]:
    """Return the parts, with neighbours joined that are pieces of one part. An empty piece is none."""
    joined = []
    for _, group in groupby((part for part in parts if not _is_empty(part)), key=_frame):
        pieces = list(group)
        part, field = pieces[0], _growing_field(pieces[0])
        if not field:
            joined.append(part)
        elif isinstance(part[field], str):
            joined.append({**part, field: well_formed("".join(piece[field] for piece in pieces))})
        else:
            joined.append({**part, field: _joined(chain.from_iterable(piece[field] for piece in pieces))})
    return joined


def _growing_field(part: object) -> str:
    """Return the field of a part that grows from piece to piece; empty for a part that comes whole."""
    kind = part.get("type") if isinstance(part, dict) else None
    field = _GROWING.get(kind, "") if isinstance(kind, str) else ""
    return field if field and isinstance(part, dict) and isinstance(part.get(field), str | list) else ""


def _is_empty(part: Any) -> bool:
    field = _growing_field(part)
    return bool(field) and not part[field]


def _frame(part: Any) -> object:
    """Return what is equal for two pieces of one part, and for no two parts that came whole."""
    field = _growing_field(part)
    if not field:
        return object()
    return type(part[field]), {name: value for name, value in part.items() if name != field}
