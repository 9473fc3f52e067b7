"""The one memo from a message's bytes to its keyed request.

A message that comes again mostly comes again byte for byte. Reading and keying it anew takes longer than finding its
answer, so both are remembered here, in one entry of one table:

1. A front calls `find` with the message's bytes. On a miss it reads the message and calls `remember`.
2. Keying calls `keyed` with the request. On a miss it makes the keys and calls `remember_keys`.

The table is bounded in entries and in bytes. Of too many, the tenant that holds most loses the one that it used longest
ago. Nothing else empties the table: a request and its keys depend on the message, its tenant and settings that stay as
long as the process.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from semcache.fair_memory import FairMemory
from semcache.model import KeyedRequest, Request

MAX_ENTRIES = 8_192
"""Twice the distinct prompts of the benchmark of exact hits."""
MAX_BYTES = 16 * 1024 * 1024
"""Of all messages together. With the objects made of them they take about four times as much memory."""
MAX_MESSAGE_BYTES = 4_096
"""Of one message: a longer one takes longer to transfer than to read, and comes again less often."""


class Call(Protocol):
    """What a front reads from a message: a request, and what the front itself needs beside it."""

    @property
    def request(self) -> Request:
        """The request."""
        ...


MessageKey = tuple[str, object, bytes]
"""A tenant, the reader that the message is for, and the message's bytes.

The tenant comes from admission, never from the message. Two readers may make different calls of the same bytes.
"""
AnyCall = TypeVar("AnyCall", bound=Call)


class _Entry:
    __slots__ = ("call", "keyed")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.keyed: KeyedRequest | None = None


class RequestMemo:
    """Remembers what was read from a message, and the keys that were made of it.

    The event loop's thread alone uses it.
    """

    def __init__(self, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._by_message: FairMemory[MessageKey, _Entry] = FairMemory(
            max_items=max_entries, max_bytes=max_bytes, on_forgotten=self._forget
        )
        self._by_request: dict[int, _Entry] = {}

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self._by_message)

    @property
    def size_bytes(self) -> int:
        """Bytes of all remembered messages."""
        return self._by_message.size_bytes

    def find(self, key: MessageKey) -> Call | None:
        """Return what was read from a message; None when it isn't remembered."""
        if len(key[2]) > MAX_MESSAGE_BYTES:
            return None  # Not even looked up: hashing megabytes takes milliseconds.
        entry = self._by_message.use(key)
        return None if entry is None else entry.call

    def remember(self, key: MessageKey, call: Call) -> None:
        """Keep what was read from a message, unless the message is long."""
        if len(key[2]) > MAX_MESSAGE_BYTES or key in self._by_message:
            return
        entry = _Entry(call)
        # By identity: a request that equals this one but came another way is another object, and is keyed by itself.
        self._by_request[id(call.request)] = entry
        self._by_message.put(key[0], key, entry, len(key[2]))

    def keyed(self, request: Request) -> KeyedRequest | None:
        """Return the keys of a request; None when they aren't remembered."""
        entry = self._by_request.get(id(request))
        return entry.keyed if entry is not None else None

    def remember_keys(self, request: Request, keyed: KeyedRequest) -> None:
        """Keep the keys of a request, if its message is remembered."""
        entry = self._by_request.get(id(request))
        if entry is not None:
            entry.keyed = keyed

    def _forget(self, tenant: str, key: MessageKey, entry: _Entry) -> None:
        del tenant, key
        # The entry held the request alive until here, so no other object has had its id.
        del self._by_request[id(entry.call.request)]
