"""Reads server-sent events from bytes that may be cut anywhere.

Reference: https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6. One departure: an event
whose blank line is missing at the end of the stream still counts, because some servers never send the last blank line.
Whether its data are complete shows when they are parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name (empty for a plain message) and its data, lines joined by LF."""

    name: bytes
    data: bytes


class EventParser:
    """Takes bytes and returns events. Comments, ids and retry times are skipped."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._name = b""
        self._first = True
        self._after_return = False
        self.pending_bytes = 0
        """Bytes of an event that isn't complete yet. The caller bounds them."""

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes."""
        # This LF belongs to a CRLF whose CR ended the bytes before.
        if self._after_return and data.startswith(b"\n"):
            data = data[1:]
        if not data:
            return []
        self._after_return = data.endswith(b"\r")
        # Each byte is looked at once: a line's end is sought in what is new alone, and a long line is joined once.
        if b"\n" not in data and b"\r" not in data:
            self._pieces.append(data)
            self.pending_bytes += len(data)
            return []
        first, *lines = _LINE_END.split(data)
        *lines, rest = [b"".join([*self._pieces, first]), *lines]
        self._pieces = [rest] if rest else []
        events = [event for line in lines if (event := self._line(line)) is not None]
        self.pending_bytes = len(rest) + sum(map(len, self._data))
        return events

    def finish(self) -> list[Event]:
        """Return the event that was incomplete when the stream ended cleanly, if there is one."""
        rest, self._pieces = b"".join(self._pieces), []
        events = [self._line(rest)] if rest else []
        events.append(self._line(b""))
        return [event for event in events if event is not None]

    def _line(self, line: bytes) -> Event | None:
        if self._first:
            self._first = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            event = Event(self._name, b"\n".join(self._data)) if self._data else None
            self._name, self._data = b"", []
            return event
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value
        return None
