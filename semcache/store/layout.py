"""Where things lie in the LMDB environment: its sub-databases, their keys, and the bytes that a row really takes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import lmdb

from semcache.model import Entry, LedgerHour, ServedHit
from semcache.store.embedders import Runs

STORE_FORMAT = 2
"""Version of what lies where; a row's own layout has `codec.FORMAT`.

A store of format 1 doesn't say which embedder made which entries. It is brought up to 2 when it is opened; whoever
knows only 1 refuses it from then on, since its puts would count for the wrong embedder."""

LIB_VERSION = 0
"""LMDB 0.9's file format: 1.0 can't read it nor the other way round, so the choice is never left to a default."""

PAGE_BYTES = 4096
_NODE_OVERHEAD_BYTES = 10  # LMDB's node header and the node's slot in its page
_PAGE_ROOM_BYTES = PAGE_BYTES - 16
_LARGEST_INLINE_BYTES = (_PAGE_ROOM_BYTES // 2) - _NODE_OVERHEAD_BYTES  # beyond it a value gets whole pages of its own

SUB_DATABASES = (
    "entries",  # entry id (8) → entry
    "exact",  # exact key (32) → entry id (8)
    "vectors",  # partition (32), entry id (8) → float32s
    "tags",  # kind (1), digest of tenant and label (16), entry id (8) → nothing
    "expiry",  # kind (1), µs (8), name → nothing: what ends when, entries and served hits
    "access",  # entry id (8) → uses, what they saved, last use: for eviction
    "served",  # hit id → served hit
    "log",  # µs (8), request id, repetition (4) → log line
    "hours",  # hour (8), digest of tenant, model, task type, status (16) → rollup row
    "decision",  # the decision's own state
    "aliases",  # exact key → entry id, by agreeing verdicts
    "meta",  # name → value
)

EXPIRES_ENTRY, EXPIRES_SERVED = b"e", b"s"
LABEL_TENANT, LABEL_TAG, LABEL_SOURCE = b"n", b"t", b"s"

META_FORMAT, META_COUNTERS, META_SECRETS, META_RUNS = b"format", b"counters", b"secret_key_ids", b"embedder_runs"
META_FINGERPRINTS = b"fingerprints"
"""In format 1: the embedders' names alone."""
COUNTERS = struct.Struct("<4Q")
"""next entry id, entries, bytes of entries, bytes of log and served hits"""
ACCESS = struct.Struct("<QQd")
"""uses, nanodollars that they saved, wall seconds of the last one"""

_U64 = struct.Struct(">Q")
MAX_KEY_BYTES = 511
"""LMDB's own limit."""
LOG_ID_BYTES = 256
"""Of a request's id in its log line's key; the whole id is in the line."""


@dataclass(frozen=True, slots=True)
class Databases:
    """The handles of all sub-databases of one open environment."""

    entries: lmdb._Database
    exact: lmdb._Database
    vectors: lmdb._Database
    tags: lmdb._Database
    expiry: lmdb._Database
    access: lmdb._Database
    served: lmdb._Database
    log: lmdb._Database
    hours: lmdb._Database
    decision: lmdb._Database
    aliases: lmdb._Database
    meta: lmdb._Database

    @classmethod
    def open(cls, env: lmdb.Environment, *, create: bool) -> Databases:
        """Open them all, creating what is missing when `create`.

        Raises:
            lmdb.Error: one is missing and may not be made.
        """
        return cls(*(env.open_db(name.encode(), create=create) for name in SUB_DATABASES))


@dataclass(frozen=True, slots=True)
class Counters:
    """What is kept beside the rows so that nobody has to count them."""

    next_entry_id: int = 1
    entries: int = 0
    entry_bytes: int = 0
    history_bytes: int = 0
    embedder_runs: Runs = ()
    """In a row of its own."""

    @classmethod
    def unpack(cls, row: bytes | None, embedder_runs: Runs = ()) -> Counters:
        """From the meta row; None is a new store."""
        next_id, entries, size_bytes, history_bytes = (1, 0, 0, 0) if row is None else COUNTERS.unpack(row)
        return cls(next_id, entries, size_bytes, history_bytes, embedder_runs)

    def pack(self) -> bytes:
        """The meta row, without the runs."""
        return COUNTERS.pack(self.next_entry_id, self.entries, self.entry_bytes, self.history_bytes)


def pack_id(entry_id: int) -> bytes:
    """An entry's key: big-endian, so that ids lie in order."""
    return _U64.pack(entry_id)


def unpack_id(key: bytes) -> int:
    """The entry's id at the end of a key."""
    return int.from_bytes(key[-8:], "big")


def pack_time(at_s: float) -> bytes:
    """Wall seconds as eight bytes that sort by time, to the microsecond; clamped to [1970, 2^63 µs]."""
    return _U64.pack(min(max(int(at_s * 1_000_000), 0), (1 << 63) - 1))


def label_key(kind: bytes, tenant: str, label: str, entry_id: int | None = None) -> bytes:
    """A row of `tags`, or without an id the prefix of all rows of the label.

    Labels are hashed since LMDB's keys end at 511 bytes; whoever reads them compares the entry's own label.
    """
    digest = blake2b(f"{tenant}\0{label}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return kind + digest + (b"" if entry_id is None else pack_id(entry_id))


def label_keys(entry: Entry) -> Iterator[bytes]:
    """All rows of `tags` that an entry has: its tenant's, one per tag, one per source."""
    yield label_key(LABEL_TENANT, entry.tenant, "", entry.entry_id)
    for tag in entry.tags:
        yield label_key(LABEL_TAG, entry.tenant, tag, entry.entry_id)
    for source in entry.sources:
        yield label_key(LABEL_SOURCE, entry.tenant, source, entry.entry_id)


def entry_expiry_key(entry: Entry) -> bytes:
    """The row of `expiry` that an entry has."""
    return EXPIRES_ENTRY + pack_time(entry.expires_s) + pack_id(entry.entry_id)


def served_expiry_key(served: ServedHit, ttl_s: float) -> bytes:
    """The row of `expiry` that a served hit has."""
    return EXPIRES_SERVED + pack_time(served.at_s + ttl_s) + (served_key(served.hit_id) or b"")


def log_name(request_id: str) -> bytes:
    """Return the part of a log line's key that names its request."""
    return request_id.encode("utf-8", "surrogatepass")[:LOG_ID_BYTES]


def log_name_of(key: bytes) -> bytes:
    """Return the part that names the request of a log line's key: what lies between its time and its repetition."""
    return key[8:-4]


def hour_key(hour: LedgerHour) -> bytes:
    """The row of `hours` that a rollup row has."""
    name = f"{hour.tenant}\0{hour.model}\0{hour.task_type}\0{hour.status.value}"
    return _U64.pack(max(hour.hour_s, 0)) + blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def hours_from(start_s: float) -> bytes:
    """Where in `hours` those begin whose hour starts at or after a moment."""
    return max(0, -int(-start_s // 1)).to_bytes(8, "big")


def served_key(hit_id: str) -> bytes | None:
    """The row of `served` that a hit has; None when nothing can be stored under such an id."""
    key = hit_id.encode("utf-8", "surrogatepass")
    return key if 0 < len(key) <= MAX_KEY_BYTES - 9 else None


def row_bytes(key_bytes: int, value_bytes: int) -> int:
    """What a row takes of the file: its share of a page, or whole pages when it doesn't fit twice into one."""
    node = _NODE_OVERHEAD_BYTES + key_bytes
    if node + value_bytes <= _LARGEST_INLINE_BYTES:
        return PAGE_BYTES // (_PAGE_ROOM_BYTES // (node + value_bytes))
    return node + 8 + -(-(value_bytes + 16) // PAGE_BYTES) * PAGE_BYTES


def entry_bytes(entry: Entry, value_bytes: int, vector_bytes: int) -> int:
    """What an entry takes of the file with all its rows, about."""
    small_rows = row_bytes(32, 8) + row_bytes(17, 0) + (1 + len(entry.tags) + len(entry.sources)) * row_bytes(25, 0)
    return row_bytes(8, value_bytes) + small_rows + (row_bytes(40, vector_bytes) if vector_bytes else 0)


def served_bytes(key_bytes: int, value_bytes: int) -> int:
    """What a served hit takes of the file with the row that ends it."""
    return row_bytes(key_bytes, value_bytes) + row_bytes(9 + key_bytes, 0)
