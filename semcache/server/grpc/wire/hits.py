"""Responses of exact hits as bytes: most of one is the same each time, and is kept serialised."""

from __future__ import annotations

import sys
from typing import NamedTuple, TypeVar

from semcache.model import Answer, Changes, Response
from semcache.server.grpc.wire.outcome import fill_lasting, fill_passing
from semcache.server.grpc.wire.outgoing import fill_answer
from semcache.v1 import semcache_pb2 as pb

KEPT_BYTES = 32 * 1024 * 1024
_LARGEST_SHARE = 16
"""The part of all that one may take; else a large one would drive out all others."""
_OVERHEAD_BYTES = 1_100
"""The objects beside the bytes and texts of one that is kept, as measured with tracemalloc on typical responses."""
Answering = TypeVar("Answering", pb.CompleteResponse, pb.LookupResponse)


class HitMessages:
    """Serialises exact hits. What one has in common with the last one on its entry is kept, up to `max_bytes`.

    Within the outcome, the fields that last stand before those that differ from hit to hit; no field is in both parts.
    The outcome itself is there once: readers should merge two of them (protobuf's encoding, "Last One Wins"), but some
    take the last and lose the other.

    `follow` is to hear of the store's commits, so that nothing stays of an entry that is gone.
    """

    def __init__(self, max_bytes: int = KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: dict[tuple[type, int], _Kept] = {}
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Estimated memory of what is kept, never more than `max_bytes`.

        The answers that it was made from are counted, though most are the exact tier's too and take no memory of their
        own, and one that was served by both calls is counted twice. The other objects count as a typical number.
        """
        return self._bytes

    def serialised(self, kind: type[Answering], response: Response) -> bytes:
        """The bytes of an exact hit's response: a `kind` with its answer and outcome."""
        key = kind, response.entry_id
        kept = self._kept.get(key)
        # An answer that isn't the same object was read anew: the old one is let go, and bodies are never compared.
        if kept is None or kept.answer is not response.answer or kept.lasting != response.lasting:
            kept = _common(kind, response)
            self._keep(key, kept)
        message = pb.Outcome()
        fill_passing(message, response)
        passing = message.SerializeToString()
        return b"".join((kept.head, _varint(len(kept.outcome) + len(passing)), kept.outcome, passing))

    def follow(self, changes: Changes) -> None:
        """Drop what is kept of entries that a commit removed or rewrote."""
        for _, entry_id, _ in changes.removed:
            self._drop_id(entry_id)
        for entry_id in changes.rewritten:
            self._drop_id(entry_id)

    def _keep(self, key: tuple[type, int], kept: _Kept) -> None:
        self._drop(key)
        if kept.size_bytes > self._max_bytes // _LARGEST_SHARE:
            return
        self._kept[key] = kept
        self._bytes += kept.size_bytes
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop_id(self, entry_id: int) -> None:
        for kind in _OUTCOME_TAGS:
            self._drop((kind, entry_id))

    def _drop(self, key: tuple[type, int]) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept.size_bytes


class _Kept(NamedTuple):
    """What the exact hits on one entry have in common.

    Attributes:
        answer: of the response that it was made from.
        lasting: the same response's.
        head: the answer's fields and the outcome's tag; the outcome's length follows.
        outcome: the outcome's fields that last.
        size_bytes: its memory when it was made, estimated; a text grows when somebody asks Python for its UTF-8.
    """

    answer: Answer | None
    lasting: tuple[object, ...]
    head: bytes
    outcome: bytes
    size_bytes: int


def _common(kind: type[Answering], response: Response) -> _Kept:
    message, lasting, answer = kind(), pb.Outcome(), response.answer
    fill_answer(message, response)
    fill_lasting(lasting, response)
    head = message.SerializeToString() + _OUTCOME_TAGS[kind]
    outcome = lasting.SerializeToString()
    held = len(answer.body) + sys.getsizeof(answer.text) if answer is not None else 0
    size_bytes = len(head) + len(outcome) + held + _OVERHEAD_BYTES
    return _Kept(answer, response.lasting, head, outcome, size_bytes)


def _varint(number: int) -> bytes:
    """A natural number in protobuf's encoding: seven bits a byte, the lowest first, with a mark that more follow."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _outcome_tag(kind: type[Answering]) -> bytes:
    length_delimited = 2
    return _varint(kind.DESCRIPTOR.fields_by_name["outcome"].number << 3 | length_delimited)


_OUTCOME_TAGS: dict[type, bytes] = {
    pb.CompleteResponse: _outcome_tag(pb.CompleteResponse),
    pb.LookupResponse: _outcome_tag(pb.LookupResponse),
}
