"""Responses of exact hits as bytes: most of one is the same each time, and is kept serialised."""

from __future__ import annotations

from typing import TypeVar

from semcache.model import Response
from semcache.server.wire_out import fill_answer
from semcache.server.wire_outcome import fill_passing, fill_standing
from semcache.v1 import semcache_pb2 as pb

KEPT_BYTES = 16 * 1024 * 1024
_OVERHEAD_BYTES = 600
"""Of one that is kept, beside its bytes: the objects that say what it was made from."""
Answering = TypeVar("Answering", pb.CompleteResponse, pb.LookupResponse)


class HitMessages:
    """Serialises exact hits. What one has in common with the last one on its entry is kept, up to `max_bytes`.

    Serialised messages one behind the other are read as one with the fields of both (protobuf's encoding, "Last One
    Wins"), so what differs from hit to hit follows as a message of its own.
    """

    def __init__(self, max_bytes: int = KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: dict[tuple[type, int], tuple[tuple[object, ...], bytes]] = {}
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Estimated memory of what is kept."""
        return self._bytes

    def serialised(self, kind: type[Answering], response: Response) -> bytes:
        """The bytes of an exact hit's response: a `kind` with its answer and outcome."""
        standing = response.standing
        key = kind, response.entry_id
        kept = self._kept.get(key)
        if kept is None or kept[0] != standing:
            kept = standing, _standing_bytes(kind, response)
            self._keep(key, kept)
        passing = kind()
        fill_passing(passing.outcome, response)
        return kept[1] + passing.SerializeToString()

    def _keep(self, key: tuple[type, int], kept: tuple[tuple[object, ...], bytes]) -> None:
        self._drop(key)
        self._kept[key] = kept
        self._bytes += len(kept[1]) + _OVERHEAD_BYTES
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[type, int]) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= len(kept[1]) + _OVERHEAD_BYTES


def _standing_bytes(kind: type[Answering], response: Response) -> bytes:
    message = kind()
    fill_answer(message, response)
    fill_standing(message.outcome, response)
    return message.SerializeToString()
