"""Rejections in rows of their own: what a wrong verdict says of two requests outlives the entries of both.

A row says that the entry of one request is wrong for another one. Its key is a digest of the tenant and the exact keys
of both; its value is the wall time at which it ends, the other request's embedding, and a seal. Each verdict writes two
rows, since two requests that differ do so in both directions. A new entry takes over the rows of its request.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from operator import itemgetter

import lmdb

from semcache import encryption
from semcache.errors import StoreUnusableError
from semcache.model import Rejection
from semcache.store import layout, scanning, seals
from semcache.store.damage import Damage
from semcache.store.layout import Databases

MAX_REJECTIONS = 64
"""Rejections that are kept of one request: the latest."""
OLDER_TTL_S = 7 * 86_400.0
"""How long the rejections of an entry that an older semcache wrote outlive it: as long as verdicts are by default."""
_END = struct.Struct("<d")


def latest(rejections: Iterable[Rejection]) -> tuple[Rejection, ...]:
    """Return the last `MAX_REJECTIONS` rejections, oldest first; of two for the same request, the later one."""
    by_key: dict[bytes, Rejection] = {}
    for rejection in rejections:
        by_key.pop(rejection.exact_key, None)
        by_key[rejection.exact_key] = rejection
    return tuple(by_key.values())[-MAX_REJECTIONS:]


def unpack(key: bytes, row: bytes) -> tuple[float, Rejection] | None:
    """Return a rejection with the wall time at which it ends, or None when its row is damaged."""
    payload = seals.payload_of(key, row, bare=False) if len(key) == layout.REJECTION_KEY_BYTES else None
    if payload is None or len(payload) < _END.size:
        return None
    return _END.unpack_from(payload)[0], Rejection(key[-layout.EXACT_KEY_BYTES :], payload[_END.size :])


class RejectionRows:
    """The rows of rejections, as one transaction sees them."""

    def __init__(self, txn: lmdb.Transaction[bytes], dbs: Databases, damage: Damage) -> None:
        """Prepare it over a transaction; damaged rows are reported to `damage` and passed over.

        Raises:
            StoreUnusableError: an older semcache made the store, and it is open for reading alone.
        """
        if dbs.rejections is None:
            raise StoreUnusableError(
                "an older semcache made the store.", hint="Start the server once: it brings the store up to date."
            )
        self._txn = txn
        self._db = dbs.rejections
        self._expiry = dbs.expiry
        self._damage = damage

    def of(self, tenant: str, exact_key: bytes) -> list[Rejection]:
        """Return the rejections of a request's entry, the one that ends first first."""
        return [rejection for _, _, rejection in self._rows(tenant, exact_key)]

    def add(self, tenant: str, exact_key: bytes, rejection: Rejection, ends_s: float) -> int:
        """Keep a rejection of a request's entry until `ends_s` (wall seconds), in place of an earlier one of the pair.

        The one that ends first gives way when a request has more than `MAX_REJECTIONS`.

        Returns:
            By how many bytes the rows have grown.
        """
        key = layout.rejections_prefix(tenant, exact_key) + rejection.exact_key
        row = seals.sealed_row(key, _END.pack(ends_s) + rejection.vector)
        grown = -self.delete(key)
        self._txn.put(key, encryption.stored_row(self._txn, tenant, key, row, self._db), db=self._db)
        self._txn.put(layout.rejection_expiry_key(key, ends_s), b"", db=self._expiry)
        grown += layout.rejection_bytes(len(row))
        for _, oldest, _ in self._rows(tenant, exact_key)[:-MAX_REJECTIONS]:
            grown -= self.delete(oldest)
        return grown

    def renew(self, tenant: str, exact_key: bytes, rejection: Rejection) -> int:
        """Write another vector into a rejection of a request's entry, if there is one; return by how much it has grown.

        Its end stays.
        """
        key = layout.rejections_prefix(tenant, exact_key) + rejection.exact_key
        row = self._txn.get(key, db=self._db)
        known = None if row is None else unpack(key, row)
        return 0 if known is None else self.add(tenant, exact_key, rejection, known[0])

    def delete(self, key: bytes) -> int:
        """Delete a row with its row of `expiry`; return how many bytes they took."""
        row = self._txn.pop(key, db=self._db)
        if row is None:
            return 0
        known = unpack(key, row)
        if known is not None:
            self._txn.delete(layout.rejection_expiry_key(key, known[0]), db=self._expiry)
        return layout.rejection_bytes(len(row))

    def _rows(self, tenant: str, exact_key: bytes) -> list[tuple[float, bytes, Rejection]]:
        """Return end, key and rejection of each row of a request, ordered by end."""
        rows = []
        prefix = layout.rejections_prefix(tenant, exact_key)
        above = prefix + b"\xff" * (layout.EXACT_KEY_BYTES + 1)
        for key, row in scanning.rows_in(self._txn, self._db, prefix, above):
            known = unpack(key, row)
            if known is None:
                self._damage.note([f"rejection {key.hex()}"], "its checksum doesn't match its bytes.")
            else:
                rows.append((known[0], key, known[1]))
        return sorted(rows, key=itemgetter(0, 1))
