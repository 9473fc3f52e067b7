"""Remember lookups that missed until their answer is stored: LangChain passes nothing from one call to the other."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass

MAX_MISSES = 4_096
"""A lookup whose model call failed is never followed by an update, so what is remembered needs a limit. A server
remembers 10,000 lookups of all its callers by default."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A lookup that found nothing.

    Attributes:
        lookup_id: the id to give to the store of its answer; empty where nothing may be stored.
        lease_id: the lease that the store ends; empty without one.
        is_storable: whether the server stores answers to such a request at all.
    """

    lookup_id: str
    lease_id: str
    is_storable: bool


class Misses:
    """The latest misses by request. Equal requests in flight have one each, and any of them serves any update."""

    def __init__(self, limit: int = MAX_MISSES) -> None:
        """Start without a miss; `limit` is the number of requests that are remembered."""
        self._limit = limit
        self._lock = threading.Lock()
        self._by_request: OrderedDict[bytes, deque[Miss]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_request)

    def remember(self, request: bytes, miss: Miss) -> None:
        """Remember a miss under the digest of its request; forget the oldest request beyond the limit."""
        with self._lock:
            self._by_request.setdefault(request, deque(maxlen=self._limit)).append(miss)
            self._by_request.move_to_end(request)
            if len(self._by_request) > self._limit:
                self._by_request.popitem(last=False)

    def take(self, request: bytes) -> Miss | None:
        """Return the oldest miss of a request and forget it; None if there is none."""
        with self._lock:
            misses = self._by_request.get(request)
            if misses is None:
                return None
            miss = misses.popleft()
            if not misses:
                del self._by_request[request]
            return miss
