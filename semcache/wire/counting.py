"""Count the fields of a message before protobuf reads it, which takes one step however many there are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from google.protobuf.descriptor import Descriptor

from semcache.errors import InvalidRequestError

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}


def check_fields(raw: bytes, kind: Descriptor, limit: int) -> None:
    """Check that a message has at most `limit` fields, those of the messages within it included.

    The numbers of a packed field count as one field. Bytes that are no message are left for protobuf to refuse.

    Raises:
        InvalidRequestError: TOO_MANY_VALUES.
    """
    if len(raw) <= 2 * limit:  # A field takes two bytes at least.
        return
    count = 0
    pending = [(0, len(raw), kind)]
    try:
        while pending:
            position, end, inner = pending.pop()
            messages = _messages_in(inner)
            while position < end:
                count += 1
                if count > limit:
                    raise InvalidRequestError(
                        f"The message has more than {limit} fields.",
                        reason="TOO_MANY_VALUES",
                        hint="Send less in one call, or raise limits.values.",
                    )
                tag, position = _varint(raw, position)
                form = tag & 7
                if form == _LENGTH_DELIMITED:
                    length, position = _varint(raw, position)
                    if tag >> 3 in messages:
                        pending.append((position, min(position + length, end), messages[tag >> 3]))
                    position += length
                elif form == _VARINT:
                    position = _varint(raw, position)[1]
                else:
                    position += _FIXED_BYTES[form]
    except (IndexError, KeyError):  # The message is cut off, or has a form that protobuf doesn't know.
        return


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    """Return the varint at a position, and the position behind it."""
    value = shift = 0
    while True:
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


@cache
def _messages_in(kind: Descriptor) -> Mapping[int, Descriptor]:
    """Return the kinds of the messages that are fields of a message, by number."""
    return {field.number: field.message_type for field in kind.fields if field.message_type is not None}
