"""Responses of exact hits as bytes. Most fields are the same at each hit on an entry, and are kept serialised."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from semcache.fair_memory import FairMemory
from semcache.model import Answer, Changes, Response
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.outcome import fill_lasting, fill_passing
from semcache.wire.outgoing import fill_answer

KEPT_BYTES = 32 * 1024 * 1024
_LARGEST_SHARE = 16
"""One kept response may take at most 1/16 of the memory: a large one would drive out all others."""
_OVERHEAD_BYTES = 1_100
"""Bytes of the objects beside the bytes and texts of one kept response, measured on typical responses."""
Answering = TypeVar("Answering", pb.CompleteResponse, pb.LookupResponse)


PASSING_FIELDS = frozenset({"request_id", "hit_id", "age_s", "stages"})
"""The fields of a `Response` that differ each time one entry is served to one request; `fill_passing` writes them."""
lasting_fields: Callable[[Response], tuple[object, ...]] = operator.itemgetter(
    *[position for position, name in enumerate(Response._fields) if name not in PASSING_FIELDS]
)
"""Returns the other fields of a `Response`; `fill_lasting` writes them."""


class HitMessages:
    """Serialises exact hits, and keeps the part that the next hit on the same entry shares.

    An outcome has two parts, and no field is in both. The lasting fields come first, then those that differ from hit to
    hit. Both parts go into one outcome: protobuf readers should merge two outcomes, but some take the last one alone.

    The kept parts take at most `max_bytes`. Of too many, the tenant that holds most loses its oldest. `follow` must
    hear of every commit of the store, so that nothing stays of an entry that is gone. The event loop's thread alone
    uses it.
    """

    def __init__(self, max_bytes: int = KEPT_BYTES) -> None:
        self._largest_bytes = max_bytes // _LARGEST_SHARE
        self._kept: FairMemory[tuple[type, int], _Kept] = FairMemory(
            max_items=max_bytes // _OVERHEAD_BYTES, max_bytes=max_bytes
        )

    @property
    def size_bytes(self) -> int:
        """Estimated bytes of the kept parts, never more than `max_bytes`.

        The estimate is high: it counts answers that the exact tier holds as well, and an answer that both Complete and
        Lookup served counts twice.
        """
        return self._kept.size_bytes

    def serialised(self, kind: type[Answering], response: Response, tenant: str) -> bytes:
        """Return the bytes of an exact hit's response to a tenant: a `kind` with its answer and outcome."""
        key = kind, response.entry_id
        kept = self._kept.get(key)
        # Another answer object was read anew from the store. Comparing bodies would take longer than serialising them.
        if kept is None or kept.answer is not response.answer or kept.lasting != lasting_fields(response):
            kept = _common(kind, response)
            self._keep(tenant, key, kept)
        message = pb.Outcome()
        fill_passing(message, response)
        passing = message.SerializeToString()
        return b"".join((kept.head, _varint(len(kept.outcome) + len(passing)), kept.outcome, passing))

    def follow(self, changes: Changes) -> None:
        """Drop the parts of entries that a commit removed or rewrote."""
        for _, entry_id, _ in changes.removed:
            self._drop_id(entry_id)
        for entry_id in changes.rewritten:
            self._drop_id(entry_id)

    def _keep(self, tenant: str, key: tuple[type, int], kept: _Kept) -> None:
        if kept.size_bytes > self._largest_bytes:
            self._kept.pop(key)
        else:
            self._kept.put(tenant, key, kept, kept.size_bytes)

    def _drop_id(self, entry_id: int) -> None:
        for kind in _OUTCOME_TAGS:
            self._kept.pop((kind, entry_id))


class _Kept(NamedTuple):
    """What the exact hits on one entry share.

    Attributes:
        answer: the answer of the response that it was made from.
        lasting: the lasting fields of that response.
        head: the answer's fields and the outcome's tag; the outcome's length follows.
        outcome: the outcome's lasting fields.
        size_bytes: its memory when it was made, estimated.
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
    return _Kept(answer, lasting_fields(response), head, outcome, size_bytes)


def _varint(number: int) -> bytes:
    """Return a natural number as a protobuf varint: seven bits a byte, lowest first, the last without a top bit."""
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
