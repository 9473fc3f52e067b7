"""The sub-databases of the LMDB environment, their keys, and how many bytes of the file a row takes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b

import lmdb

from semcache.disk.pages import PAGE_BYTES
from semcache.model import Entry, LedgerHour, LedgerRecord, ServedHit
from semcache.store import embedders, seals
from semcache.store.embedders import Runs

STORE_FORMAT = 5
"""Version of the sub-databases and their keys; the layout of a row has `table.FORMAT`.

- 1: nothing says which embedder made which entries.
- 2: `embedder_runs` says it.
- 3: the rows of `vectors`, `access` and `meta` end with a checksum (`seals`). Those of before are read without one.
- 4: `rejections` has rows of its own. The rejections in entries of before move there when their entry is deleted.
- 5: an entry that was embedded anew names its embedder (`Entry.embedder`).

Opening brings a store up to date. An older semcache refuses it from then on, because it would misread its rows."""

ENCRYPTED_FLAG = 1 << 15
"""Added to the format of a store that holds encrypted rows. A semcache that knows no encryption takes it for a newer
format and refuses the store, instead of taking every row for damaged."""

LIB_VERSION = 0
"""LMDB 0.9's file format. LMDB 1.0 can't read it, nor 0.9 that of 1.0, so the version isn't left to a default."""

_NODE_OVERHEAD_BYTES = 10  # LMDB's node header and the node's slot in its page
_PAGE_ROOM_BYTES = PAGE_BYTES - 16
_LARGEST_INLINE_BYTES = (_PAGE_ROOM_BYTES // 2) - _NODE_OVERHEAD_BYTES  # A larger value gets whole pages of its own.

SUB_DATABASES = (
    "entries",  # entry id (8) → entry
    "exact",  # exact key (32) → entry id (8)
    "vectors",  # partition (32), entry id (8) → float32s, seal
    "tags",  # kind (1), digest of tenant and label (16), entry id (8) → nothing
    "expiry",  # kind (1), µs (8), name → nothing: when entries, served hits and rejections end
    "access",  # entry id (8) → uses, what they saved, last use, seal: for eviction
    "served",  # hit id → served hit
    "log",  # µs (8), request id, repetition (4) → log line
    "hours",  # hour (8), digest of tenant, model, task type, status (16) → rollup row
    "meta",  # name → value, seal; the format has none, so that every semcache can read it
    "rejections",  # digest of tenant (16), exact keys of two requests (32 each) → end (8), float16s, seal
)

EXPIRES_ENTRY, EXPIRES_SERVED, EXPIRES_REJECTION = b"e", b"s", b"r"
LABEL_TENANT, LABEL_TAG, LABEL_SOURCE = b"n", b"t", b"s"

META_FORMAT, META_COUNTERS, META_SECRETS, META_RUNS = b"format", b"counters", b"secret_key_ids", embedders.META_NAME
META_DATA_KEYS = b"data_key_ids"
"""The name of the meta row with the ids of all data keys that rows were encrypted with."""
META_FINGERPRINTS = b"fingerprints"
"""The names of all embedders, in a store of format 1."""
COUNTERS = struct.Struct("<4Q")
"""next entry id, entries, bytes of entries, bytes of the history: log, served hits and rejections"""

_U64 = struct.Struct(">Q")
EXACT_KEY_BYTES = 32
"""Length of an exact key and of a partition: SHA-256."""
_DIGEST_BYTES = 16
REJECTION_KEY_BYTES = _DIGEST_BYTES + 2 * EXACT_KEY_BYTES
MAX_KEY_BYTES = 511
"""LMDB's own limit."""
LOG_ID_BYTES = 256
"""Bytes of a request's id in the key of its log line; the line holds the whole id."""


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
    meta: lmdb._Database
    rejections: lmdb._Database | None
    """None: an older semcache made the store, and it is open for reading alone."""

    @classmethod
    def open(cls, env: lmdb.Environment, *, create: bool) -> Databases:
        """Open all sub-databases; with `create`, make those that are missing.

        Sub-databases that an older semcache made and that no code reads any more stay in the file, unopened.

        Raises:
            lmdb.Error: one is missing that stores of all formats have, and `create` is false.
        """
        *of_all_formats, newest = SUB_DATABASES
        databases = {name: env.open_db(name.encode(), create=create) for name in of_all_formats}
        rejections = None
        with suppress(lmdb.NotFoundError):
            rejections = env.open_db(newest.encode(), create=create)
        return cls(**databases, rejections=rejections)


@dataclass(frozen=True, slots=True)
class Counters:
    """Counts that are kept beside the rows, so that no walk over the rows is needed.

    `embedder_runs` has a meta row of its own.
    """

    next_entry_id: int = 1
    entries: int = 0
    entry_bytes: int = 0
    history_bytes: int = 0
    embedder_runs: Runs = ()

    @classmethod
    def unpack(cls, row: bytes | None, embedder_runs: Runs = ()) -> Counters | None:
        """Return the counters of a meta row, or None when it is damaged. A store without that row is new."""
        if row is None:
            return cls(embedder_runs=embedder_runs)
        payload = seals.payload_of(META_COUNTERS, row, bare=len(row) == COUNTERS.size)
        if payload is None:
            return None
        next_id, entries, size_bytes, history_bytes = COUNTERS.unpack(payload)
        return cls(next_id, entries, size_bytes, history_bytes, embedder_runs)

    def pack(self) -> bytes:
        """Return the meta row, without the runs."""
        payload = COUNTERS.pack(self.next_entry_id, self.entries, self.entry_bytes, self.history_bytes)
        return seals.sealed_row(META_COUNTERS, payload)


def pack_id(entry_id: int) -> bytes:
    """Return an entry's key: big-endian, so that the order of keys is that of ids."""
    return _U64.pack(entry_id)


def unpack_id(key: bytes) -> int:
    """Return the entry's id at the end of a key."""
    return int.from_bytes(key[-8:], "big")


def pack_time(at_s: float) -> bytes:
    """Return wall seconds as eight bytes that sort by time, to the microsecond; clamped to [1970, 2^63 µs]."""
    return _U64.pack(min(max(int(at_s * 1_000_000), 0), (1 << 63) - 1))


def label_key(kind: bytes, tenant: str, label: str, entry_id: int | None = None) -> bytes:
    """Return a key of `tags`; without an id, the prefix of all keys of the label.

    Labels are hashed because a key of LMDB has at most 511 bytes. A reader compares the entry's own label too.
    """
    digest = blake2b(f"{tenant}\0{label}".encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
    return kind + digest + (b"" if entry_id is None else pack_id(entry_id))


def label_keys(entry: Entry) -> Iterator[bytes]:
    """Yield the keys of `tags` that an entry has: its tenant's, one per tag, one per source."""
    yield label_key(LABEL_TENANT, entry.tenant, "", entry.entry_id)
    for tag in entry.tags:
        yield label_key(LABEL_TAG, entry.tenant, tag, entry.entry_id)
    for source in entry.sources:
        yield label_key(LABEL_SOURCE, entry.tenant, source, entry.entry_id)


def entry_expiry_key(entry: Entry) -> bytes:
    """Return the key of `expiry` that an entry has."""
    return EXPIRES_ENTRY + pack_time(entry.expires_s) + pack_id(entry.entry_id)


def served_expiry_key(served: ServedHit, ttl_s: float) -> bytes:
    """Return the key of `expiry` that a served hit has."""
    return EXPIRES_SERVED + pack_time(served.at_s + ttl_s) + (served_key(served.hit_id) or b"")


def rejections_prefix(tenant: str, exact_key: bytes) -> bytes:
    """Return what the keys of all rejections of a request's entry begin with; those of a tenant share 16 bytes."""
    return label_key(LABEL_TENANT, tenant, "")[1:] + exact_key


def rejection_expiry_key(key: bytes, ends_s: float) -> bytes:
    """Return the key of `expiry` that a rejection has."""
    return EXPIRES_REJECTION + pack_time(ends_s) + key


def rejection_bytes(value_bytes: int) -> int:
    """Return how many bytes of the file a rejection takes, with its row of `expiry`."""
    return row_bytes(REJECTION_KEY_BYTES, value_bytes) + row_bytes(9 + REJECTION_KEY_BYTES, 0)


def log_name(request_id: str) -> bytes:
    """Return the part of a log line's key that names its request."""
    return request_id.encode("utf-8", "surrogatepass")[:LOG_ID_BYTES]


def is_key_of(key: bytes, line: LedgerRecord) -> bool:
    """Return whether a key of `log` is that of a line."""
    name = log_name_of(key)
    return key[:8] == pack_time(line.at_s) and line.request_id.encode("utf-8", "surrogatepass").startswith(name)


def log_name_of(key: bytes) -> bytes:
    """Return the part that names the request of a log line's key: what lies between its time and its repetition."""
    return key[8:-4]


def hour_key(hour: LedgerHour) -> bytes:
    """Return the key of a rollup row."""
    name = f"{hour.tenant}\0{hour.model}\0{hour.task_type}\0{hour.status.value}"
    return _U64.pack(max(hour.hour_s, 0)) + blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def hours_from(start_s: float) -> bytes:
    """Return the first key of `hours` that an hour starting at or after `start_s` can have."""
    return max(0, -int(-start_s // 1)).to_bytes(8, "big")


def served_key(hit_id: str) -> bytes | None:
    """Return the key of a served hit; None when no key can hold the id."""
    key = hit_id.encode("utf-8", "surrogatepass")
    return key if 0 < len(key) <= MAX_KEY_BYTES - 9 else None


def row_bytes(key_bytes: int, value_bytes: int) -> int:
    """Return how many bytes of the file a row takes: its share of a page, or whole pages beyond half a page."""
    node = _NODE_OVERHEAD_BYTES + key_bytes
    if node + value_bytes <= _LARGEST_INLINE_BYTES:
        return PAGE_BYTES // (_PAGE_ROOM_BYTES // (node + value_bytes))
    return node + 8 + -(-(value_bytes + 16) // PAGE_BYTES) * PAGE_BYTES


def entry_bytes(entry: Entry, value_bytes: int, vector_bytes: int) -> int:
    """Return about how many bytes of the file an entry takes with all its rows."""
    small_rows = row_bytes(32, 8) + row_bytes(17, 0) + (1 + len(entry.tags) + len(entry.sources)) * row_bytes(25, 0)
    return row_bytes(8, value_bytes) + small_rows + (vector_row_bytes(vector_bytes) if vector_bytes else 0)


def vector_row_bytes(value_bytes: int) -> int:
    """Return how many bytes of the file an entry's vector takes."""
    return row_bytes(40, value_bytes)


def served_bytes(key_bytes: int, value_bytes: int) -> int:
    """Return how many bytes of the file a served hit takes, with its row of `expiry`."""
    return row_bytes(key_bytes, value_bytes) + row_bytes(9 + key_bytes, 0)
