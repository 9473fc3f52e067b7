"""The changes of one commit group to entries: their rows, their vectors and their rejections."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import lmdb
import numpy as np

from semcache import encryption
from semcache.errors import StoreUnusableError
from semcache.model import Entry, Rejection, Vector
from semcache.store import damage, embedders, layout, seals
from semcache.store.codec import encode_entry, is_of_older_store
from semcache.store.damage import Damage
from semcache.store.layout import Counters, Databases
from semcache.store.rejections import OLDER_TTL_S, RejectionRows, latest
from semcache.store.table import sealed_again


class EntryChanges:
    """Reads and changes entries within one transaction, and counts what that changes."""

    def __init__(self, txn: lmdb.Transaction[bytes], dbs: Databases, counters: Counters, found_damage: Damage) -> None:
        self._txn = txn
        self._damage = found_damage
        self._dbs = dbs
        self._rejections = RejectionRows(txn, dbs, found_damage)
        self._next_id = counters.next_entry_id
        self._entries = counters.entries
        self._entry_bytes = counters.entry_bytes
        self._history_bytes = counters.history_bytes
        self._embedder_runs = list(counters.embedder_runs)
        self._added: dict[int, tuple[bytes, int, Vector]] = {}
        self._removed: list[tuple[bytes, int, bytes]] = []
        self._rewritten: dict[int, None] = {}
        self.reembedded = 0

    def _put(self, tenant: str | None, key: bytes, row: bytes, db: lmdb._Database, **options: bool) -> bool:
        """Write a row under the key of its tenant, or of the store itself (None); return whether it was written."""
        return self._txn.put(key, encryption.stored_row(self._txn, tenant, key, row, db), db=db, **options)

    # -- entries

    def entry(self, entry_id: int) -> Entry | None:
        """Return the entry, even an expired one; None when it is gone or damaged."""
        key = layout.pack_id(entry_id)
        return self._undamaged(key, self._txn.get(key, db=self._dbs.entries))

    def _undamaged(self, key: bytes, row: bytes | None) -> Entry | None:
        try:
            return None if row is None else self._damage.read(damage.entry, key, row)
        except StoreUnusableError:  # A newer semcache wrote the row. Its write must not hold up those of others.
            return None

    def put(self, entry: Entry, row: bytes, vector: Vector | None) -> Entry:
        """Store a new entry under the next id, in place of the entry with its exact key; return it with its id.

        Args:
            entry: its `entry_id` is ignored.
            row: `encode_entry(entry)`, made by the caller so that it hears of values that no row can hold.
            vector: unit vector of shape (dimension,), or None.
        """
        old = self._txn.get(entry.exact_key, db=self._dbs.exact)
        replaced = None if old is None else self.delete(layout.unpack_id(old))
        # A rejection says that two requests differ. A fresh answer to one of them doesn't change that.
        rejections = self._rejections.of(entry.tenant, entry.exact_key)
        if replaced is not None and replaced.text == entry.text:
            rejections = [*replaced.rejections, *rejections]
        if replaced is not None and not self._is_current(replaced):
            rejections = list(self._in_current_space(rejections))
        if rejections:
            entry = replace(entry, rejections=latest((*rejections, *entry.rejections)))
            row = encode_entry(entry)
        entry = replace(entry, entry_id=self._next_id)
        self._next_id += 1
        key, row = layout.pack_id(entry.entry_id), sealed_again(row, entry.entry_id)
        self._put(entry.tenant, key, row, self._dbs.entries, append=True)
        self._txn.put(entry.exact_key, key, db=self._dbs.exact)
        for label in layout.label_keys(entry):
            self._txn.put(label, b"", db=self._dbs.tags)
        self._txn.put(layout.entry_expiry_key(entry), b"", db=self._dbs.expiry)
        vector_bytes = 0 if vector is None else self._put_vector(entry, vector)
        self._entries += 1
        self._entry_bytes += layout.entry_bytes(entry, len(row), vector_bytes)
        return entry

    def _put_vector(self, entry: Entry, vector: Vector) -> int:
        """Write an entry's vector and count it; return the bytes of its row."""
        key = entry.partition + layout.pack_id(entry.entry_id)
        raw = np.ascontiguousarray(vector, dtype=np.float32).tobytes()
        row = seals.sealed_row(key, raw)
        self._put(entry.tenant, key, row, self._dbs.vectors)
        self._added[entry.entry_id] = (entry.partition, entry.entry_id, np.frombuffer(raw, dtype=np.float32))
        self._count_vector(entry.entry_id, entry.embedder, 1)
        return len(row)

    def _count_vector(self, entry_id: int, embedder: str, by: int) -> None:
        at = embedders.position(self._embedder_runs, entry_id, embedder)
        if at is not None:
            self._embedder_runs[at] = self._embedder_runs[at].plus(by)

    def reembed(self, entry_id: int, partition: bytes, target: bytes, vector: Vector | None) -> bool:
        """Move an entry from the partition of another embedder to one of the current embedder, with its new vector.

        The entry keeps its id, its uses and its rejections. Vectors of two embedders are never compared: the entry's
        rejections get the current embedder's vectors of their requests, or none, and those of the current embedder's
        entries get the new vector of this one. An entry that is gone, or has left the partition, isn't moved; a vector
        that lies there without it is deleted.

        Args:
            entry_id: the entry's.
            partition: where its vector lies.
            target: the partition of the same requests under the current embedder.
            vector: unit vector of shape (dimension,); None takes the entry's vector away, so that only its exact key
                finds it.

        Returns:
            Whether the entry has the new vector.
        """
        key = layout.pack_id(entry_id)
        old_vector = self._txn.pop(partition + key, db=self._dbs.vectors)
        if old_vector is None:
            return False
        entry = self.entry(entry_id)
        if entry is None or entry.partition != partition:
            self._count_vector(entry_id, "", -1)
            if entry is None:  # What was left of a damaged entry counts until its last row goes.
                self._entry_bytes = max(0, self._entry_bytes - layout.vector_row_bytes(len(old_vector)))
            return False
        self._lose_vector(entry, old_vector)
        if vector is None:
            return False
        rejections = self._in_current_space(entry.rejections)
        current = self._embedder_runs[-1].fingerprint
        entry = replace(entry, partition=target, embedder=current, rejections=rejections)
        self._rewrite(entry)
        self._entry_bytes += layout.vector_row_bytes(self._put_vector(entry, vector))
        if rejections:
            renewed = Rejection(entry.exact_key, self._vector_of(entry.exact_key))
            for rejection in rejections:
                self._history_bytes += self._rejections.renew(entry.tenant, entry.exact_key, rejection)
                self._renew_rejection(entry.tenant, rejection.exact_key, renewed)
        self.reembedded += 1
        return True

    def _lose_vector(self, entry: Entry, row: bytes) -> None:
        """Follow that an entry's vector row was deleted while the entry stays."""
        self._count_vector(entry.entry_id, entry.embedder, -1)
        self._entry_bytes = max(0, self._entry_bytes - layout.vector_row_bytes(len(row)))
        self._added.pop(entry.entry_id, None)
        self._removed.append((entry.partition, entry.entry_id, entry.exact_key))

    def delete(self, entry_id: int) -> Entry | None:
        """Delete an entry with all rows that refer to it; return it, or None when it is gone or damaged.

        Of a damaged entry only its own row can be deleted. Readers skip rows that refer to it; `repair` deletes them.
        """
        key = layout.pack_id(entry_id)
        row = self._txn.pop(key, db=self._dbs.entries)
        if row is None:
            return None
        self._entries -= 1
        self._txn.delete(key, db=self._dbs.access)
        entry = self._undamaged(key, row)
        if entry is None:
            self._entry_bytes = max(0, self._entry_bytes - layout.row_bytes(8, len(row)))
            return None
        if self._txn.get(entry.exact_key, db=self._dbs.exact) == key:
            self._txn.delete(entry.exact_key, db=self._dbs.exact)
        if is_of_older_store(row):
            self._keep_older_rejections(entry)
        vector = self._txn.pop(entry.partition + key, db=self._dbs.vectors)
        if vector is not None:
            self._count_vector(entry_id, entry.embedder, -1)
        for label in layout.label_keys(entry):
            self._txn.delete(label, db=self._dbs.tags)
        self._txn.delete(layout.entry_expiry_key(entry), db=self._dbs.expiry)
        self._entry_bytes = max(0, self._entry_bytes - layout.entry_bytes(entry, len(row), len(vector or b"")))
        # An entry that was added in this group too was never visible: subscribers only hear that it was removed.
        self._added.pop(entry_id, None)
        self._rewritten.pop(entry_id, None)
        self._removed.append((entry.partition, entry_id, entry.exact_key))
        return entry

    # -- rejections

    def reject(self, tenant: str, exact_key: bytes, rejection: Rejection, ends_s: float) -> None:
        """Remember until `ends_s` (wall seconds) that two requests of a tenant need different answers.

        The entry of `exact_key` isn't served to the rejection's request, nor that one's entry to this request.
        """
        mirrored = Rejection(exact_key, self._vector_of(exact_key))
        for of, other in ((exact_key, rejection), (rejection.exact_key, mirrored)):
            _, entry = self._under(of)
            if entry is not None:
                self._rewrite(replace(entry, rejections=latest((*entry.rejections, other))))
            # After the entry: where that is of an older store, all its rejections have got another end.
            self._keep_rejection(tenant, of, other, ends_s)

    def _renew_rejection(self, tenant: str, exact_key: bytes, renewed: Rejection) -> None:
        """Put a request's new vector into the rejection that a request's entry has of it, if there is one.

        An entry of another embedder keeps the older vector, with which its own can be compared, until it moves itself.
        """
        _, entry = self._under(exact_key)
        if entry is not None and not self._is_current(entry):
            return
        self._history_bytes += self._rejections.renew(tenant, exact_key, renewed)
        if entry is not None and any(one.exact_key == renewed.exact_key for one in entry.rejections):
            kept = [renewed if one.exact_key == renewed.exact_key else one for one in entry.rejections]
            self._rewrite(replace(entry, rejections=tuple(kept)))

    def _in_current_space(self, rejections: Iterable[Rejection]) -> tuple[Rejection, ...]:
        """Return rejections with the current embedder's vectors of their requests, where their entries have one.

        The others get none, so that they bar their very requests alone.
        """
        moved = []
        for rejection in rejections:
            key, entry = self._under(rejection.exact_key)
            vector = self._vector_at(key, entry) if self._is_current(entry) else b""
            moved.append(Rejection(rejection.exact_key, vector))
        return tuple(moved)

    def _is_current(self, entry: Entry | None) -> bool:
        """Return whether the current embedder made what an entry has of vectors."""
        at = None if entry is None else embedders.position(self._embedder_runs, entry.entry_id, entry.embedder)
        return at is not None and self._embedder_runs[at].fingerprint == self._embedder_runs[-1].fingerprint

    def _rewrite(self, entry: Entry) -> None:
        """Write an entry anew under its id; the rejections of one of an older store get rows of their own."""
        key, row = layout.pack_id(entry.entry_id), encode_entry(entry)
        old_row = self._txn.get(key, db=self._dbs.entries)
        if old_row is not None and is_of_older_store(old_row):  # The new row doesn't tell that they have none.
            self._keep_older_rejections(entry)
        self._put(entry.tenant, key, row, self._dbs.entries)
        self._entry_bytes += layout.row_bytes(8, len(row)) - layout.row_bytes(8, len(old_row or b""))
        self._rewritten[entry.entry_id] = None

    def _keep_older_rejections(self, entry: Entry) -> None:
        """Give rows of their own to the rejections of an entry from before they had any."""
        for rejection in entry.rejections:  # When they were reported isn't known: before the entry's end.
            self._keep_rejection(entry.tenant, entry.exact_key, rejection, entry.expires_s + OLDER_TTL_S)

    def _keep_rejection(self, tenant: str, exact_key: bytes, rejection: Rejection, ends_s: float) -> None:
        self._history_bytes += self._rejections.add(tenant, exact_key, rejection, ends_s)

    def _vector_of(self, exact_key: bytes) -> bytes:
        """Return the embedding of a request whose entry is stored, as float16 bytes; empty where there is none."""
        return self._vector_at(*self._under(exact_key))

    def _vector_at(self, key: bytes, entry: Entry | None) -> bytes:
        """Return the vector of an entry that `_under` found, as float16 bytes; empty where there is none."""
        place = b"" if entry is None else entry.partition + key
        return seals.rounded(place, self._txn.get(place, b"", db=self._dbs.vectors)) if place else b""

    def _under(self, exact_key: bytes) -> tuple[bytes, Entry | None]:
        """Return key and entry of an exact key; the entry is None when there is none, or a damaged one."""
        key = self._txn.get(exact_key, b"", db=self._dbs.exact)
        row = self._txn.get(key, b"", db=self._dbs.entries) if key else b""
        return key, self._undamaged(key, row) if row else None
