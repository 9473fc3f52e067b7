"""The check of a store against itself: each row against the entry that it refers to, and the repair of mismatches.

`check` reads one snapshot and may run beside a server (the pages that it reads stay in use until it ends). `repair`
takes the store's lock, deletes rows that are damaged or refer to nothing, and writes again rows that follow from the
entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import lmdb

from semcache import encryption
from semcache.disk import inspecting, pages
from semcache.errors import StoreError, StoreUnusableError
from semcache.model import Entry, format_entry_id
from semcache.settings import StoreSettings
from semcache.store import damage, embedders, eviction, layout, opening, rebuilding, rejections, seals
from semcache.store.codec import encode_hour
from semcache.store.damage import Damage
from semcache.store.layout import Counters, Databases
from semcache.store.scanning import hours_from_log

MAX_PROBLEMS = 1000
"""Problems that a report describes; further ones are only counted."""
_MAX_WALKS = 5
"""Walks of one repair. The second or third finds nothing more; a repair that needs more doesn't converge."""

_Fix = tuple[str, bytes, bytes | None]
"""Sub-database, key, and the value that belongs there; None: the row is deleted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mismatch. `kind` is a stable snake_case token, `where` names the row."""

    kind: str
    where: str


@dataclass(slots=True)
class CheckReport:
    """The result of a check or a repair.

    Attributes:
        rows: how many rows each sub-database has, by its name.
        problems: the first `MAX_PROBLEMS` problems, in the order of the walk.
        problem_count: how many problems there are in all.
        repaired: rows that were deleted or written again; 0 for a check.
        kept: the old data file, where a repair had to write a new one; else empty.
    """

    rows: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    repaired: int = 0
    kept: str = ""

    @property
    def clean(self) -> bool:
        """Whether there is no problem."""
        return self.problem_count == 0


def check(settings: StoreSettings, progress: Callable[[str], None] | None = None) -> CheckReport:
    """Check the store at `settings.path`; change nothing. Rows are read only where the pages are whole.

    Args:
        settings: where the store is.
        progress: called with the name of each sub-database before it is walked.

    Raises:
        StoreUnusableError: there is none, a newer semcache wrote it, or it can't be read.
    """
    damaged_pages = _damaged_pages(settings.path)
    if damaged_pages:
        return _page_report(damaged_pages)
    env, dbs = opening.open_checked(settings, readonly=True)
    try:
        with env.begin() as txn:
            return _Walk(txn, dbs, progress).run()
    except lmdb.Error as error:
        raise _unreadable(settings.path, error) from error
    finally:
        env.close()


def repair(settings: StoreSettings, progress: Callable[[str], None] | None = None) -> CheckReport:
    """Check the store and repair its problems; return what was found first.

    Where pages are damaged, the rows that can be read go into a new data file, and the old one is kept beside it. Rows
    are repaired in one commit.

    Raises:
        StoreUnusableError: there is none, a server has it, a newer semcache wrote it, or it can't be written.
    """
    with opening.locked(settings):
        return repair_locked(settings, progress)


def repair_locked(settings: StoreSettings, progress: Callable[[str], None] | None = None) -> CheckReport:
    """Do what `repair` does, for a caller that holds the folder's lock."""
    of_pages = _page_report(inspecting.problems(settings.path / opening.DATA_FILE))
    if not of_pages.clean:
        of_pages.kept = str(rebuilding.rebuild(settings.path, settings.map_size_bytes, progress))
    of_rows = _repair_rows(settings, progress)
    of_rows.problems = (of_pages.problems + of_rows.problems)[:MAX_PROBLEMS]
    of_rows.problem_count += of_pages.problem_count
    of_rows.kept = of_pages.kept
    return of_rows


def _repair_rows(settings: StoreSettings, progress: Callable[[str], None] | None) -> CheckReport:
    env, dbs = opening.open_checked(settings, readonly=False)
    try:
        with env.begin(write=True) as txn:
            return _repaired(txn, dbs, progress)
    except lmdb.Error as error:
        raise _unreadable(settings.path, error) from error
    finally:
        env.close()


def _damaged_pages(folder: Path) -> list[str]:
    """Return what is wrong with the pages of a store, if it could be said: a server may write them meanwhile."""
    path = folder / opening.DATA_FILE
    if not path.is_file():
        return []
    with path.open("rb") as file:
        before = pages.meta_pages(file)
        problems = inspecting.problems(path) if before else []
        # Pages in use are never written over, unless a commit has freed them.
        return problems if pages.meta_pages(file) == before else []


def _page_report(problems: list[str]) -> CheckReport:
    found = [Problem("page_damaged", problem) for problem in problems[:MAX_PROBLEMS]]
    return CheckReport(problems=found, problem_count=len(problems))


def _repaired(txn: lmdb.Transaction[bytes], dbs: Databases, progress: Callable[[str], None] | None) -> CheckReport:
    """Walk and fix until a walk finds nothing; return the report of the first walk.

    A fix may reveal a further problem (a deleted entry leaves its tags behind), hence the repeated walks.
    """
    first: CheckReport | None = None
    repaired = 0
    for _ in range(_MAX_WALKS):
        walk = _Walk(txn, dbs, progress)
        report = walk.run()
        first = first or report
        for name, key, value in walk.fixes:
            db = getattr(dbs, name)
            if value is None:
                txn.delete(key, db=db)
            else:
                # The store's own key: of the rows that are encrypted, a repair writes those of the rollup alone.
                txn.put(key, encryption.stored_row(txn, None, key, value, db), db=db)
        repaired += len(walk.fixes)
        if not walk.fixes:
            first.repaired = repaired
            return first
    raise StoreError(
        f"the store still has problems after {_MAX_WALKS} walks of repair; nothing was changed.",
        hint="Restore the folder from a backup, or start an empty one.",
    )


class _Walk:
    """One walk over all sub-databases within one transaction; `fixes` would repair what it finds."""

    def __init__(self, txn: lmdb.Transaction[bytes], dbs: Databases, progress: Callable[[str], None] | None) -> None:
        self._txn = txn
        self._dbs = dbs
        self._progress = progress
        self._report = CheckReport()
        self._entry_bytes = 0
        self._history_bytes = 0
        self._entries = 0
        self._served: dict[bytes, int] = {}
        self._rejection_ends: dict[bytes, float] = {}
        row = txn.get(layout.META_RUNS, db=dbs.meta)
        runs = () if row is None else embedders.unpack_runs(row)
        self._runs_damaged = runs is None
        self._stored_runs = runs or ()
        self._runs = [replace(run, vectors=0) for run in self._stored_runs]
        self.fixes: list[_Fix] = []

    def run(self) -> CheckReport:
        """Walk over all sub-databases; return what was found."""
        self._walk("entries", self._check_entry)
        self._walk("exact", self._check_exact)
        self._walk("vectors", self._check_vector)
        self._walk("tags", self._check_tag)
        self._walk("served", self._check_served)
        if self._dbs.rejections is not None:
            self._walk("rejections", self._check_rejection)
        self._walk("expiry", self._check_expiry)
        for key in self._served:
            self._note("served_without_expiry", "served", key, None)
        for key, ends_s in self._rejection_ends.items():
            self._note("expiry_missing", "expiry", layout.rejection_expiry_key(key, ends_s), b"")
        self._walk("access", self._check_access)
        self._walk("log", self._check_log)
        self._walk("hours", self._check_hour)
        self._check_counters()
        return self._report

    def _walk(self, name: str, look: Callable[[bytes, bytes], None]) -> None:
        if self._progress is not None:
            self._progress(name)
        count = 0
        for key, value in self._rows(name):
            if value == encryption.ERASED_ROW:
                self._note("row_erased", name, key, None)
            else:
                look(key, value)
            count += 1
        self._report.rows[name] = count

    def _rows(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        with self._txn.cursor(db=getattr(self._dbs, name)) as cursor:
            yield from cursor

    def _note(self, kind: str, name: str, key: bytes, value: bytes | None, where: str = "") -> None:
        """Note a problem and its fix: `value` belongs under `key`, or no row does."""
        self._report.problem_count += 1
        if len(self._report.problems) < MAX_PROBLEMS:
            self._report.problems.append(Problem(kind, where or f"{name}/{key.hex()}"))
        self.fixes.append((name, key, value))

    def _entry(self, key: bytes) -> Entry | None:
        row = self._txn.get(key, db=self._dbs.entries) if len(key) == 8 else None
        try:
            return None if row is None else damage.entry(key, row)
        except StoreError:
            return None

    def _check_entry(self, key: bytes, value: bytes) -> None:
        where = format_entry_id(layout.unpack_id(key))
        try:
            entry = damage.entry(key, value)
        except StoreUnusableError:
            raise  # The row is whole; a newer semcache wrote it, so it isn't deleted.
        except StoreError:
            self._note("entry_damaged", "entries", key, None, where)
            return
        vector = self._txn.get(entry.partition + key, b"", db=self._dbs.vectors)
        self._entries += 1
        self._entry_bytes += layout.entry_bytes(
            entry, len(value), len(vector) if seals.is_vector(entry.partition + key, vector) else 0
        )
        holder = self._txn.get(entry.exact_key, db=self._dbs.exact)
        if holder is None:
            self._note("exact_key_missing", "exact", entry.exact_key, key, where)
        elif holder != key and (other := self._entry(holder)) is not None and other.exact_key == entry.exact_key:
            self._note("entry_replaced", "entries", key, None, where)  # The exact key leads to the other entry.
        for label in layout.label_keys(entry):
            if self._txn.get(label, db=self._dbs.tags) is None:
                self._note("tag_missing", "tags", label, b"", where)
        expiry = layout.entry_expiry_key(entry)
        if self._txn.get(expiry, db=self._dbs.expiry) is None:
            self._note("expiry_missing", "expiry", expiry, b"", where)

    def _check_exact(self, key: bytes, value: bytes) -> None:
        entry = self._entry(value)
        if entry is None or entry.exact_key != key:
            self._note("exact_key_dangling", "exact", key, None)

    def _check_vector(self, key: bytes, value: bytes) -> None:
        entry = self._entry(key[-8:])
        if entry is None or entry.partition + key[-8:] != key:
            self._note("vector_dangling", "vectors", key, None)
        elif not seals.is_vector(key, value):
            self._note("vector_damaged", "vectors", key, None, format_entry_id(entry.entry_id))
        elif (at := embedders.position(self._runs, entry.entry_id, entry.embedder)) is not None:
            self._runs[at] = self._runs[at].plus(1)

    def _check_tag(self, key: bytes, value: bytes) -> None:
        del value
        entry = self._entry(key[-8:])
        if entry is None or key not in set(layout.label_keys(entry)):
            self._note("tag_dangling", "tags", key, None)

    def _check_served(self, key: bytes, value: bytes) -> None:
        try:
            damage.served_hit(key, value)
        except StoreError:
            self._note("served_damaged", "served", key, None)
            return
        self._history_bytes += layout.served_bytes(len(key), len(value))
        self._served[key] = len(value)

    def _check_rejection(self, key: bytes, value: bytes) -> None:
        known = rejections.unpack(key, value)
        if known is None:
            self._note("rejection_damaged", "rejections", key, None)
            return
        self._history_bytes += layout.rejection_bytes(len(value))
        self._rejection_ends[key] = known[0]

    def _check_expiry(self, key: bytes, value: bytes) -> None:
        del value
        name = key[9:]
        if key[:1] == layout.EXPIRES_ENTRY:
            entry = self._entry(name)
            fits = entry is not None and layout.entry_expiry_key(entry) == key
        elif key[:1] == layout.EXPIRES_REJECTION:
            ends_s = self._rejection_ends.get(name)
            fits = ends_s is not None and layout.rejection_expiry_key(name, ends_s) == key
            if fits:
                del self._rejection_ends[name]
        else:
            fits = self._txn.get(name, db=self._dbs.served) is not None
            self._served.pop(name, None)
        if not fits:
            self._note("expiry_dangling", "expiry", key, None)

    def _check_access(self, key: bytes, value: bytes) -> None:
        if self._entry(key) is None:
            self._note("access_dangling", "access", key, None)
        elif eviction.unpack_access(key, value) is None:
            self._note("access_damaged", "access", key, None)

    def _check_log(self, key: bytes, value: bytes) -> None:
        try:
            damage.log_line(key, value)
        except StoreError:
            self._note("log_line_damaged", "log", key, None)
            return
        self._history_bytes += layout.row_bytes(len(key), len(value))

    def _check_hour(self, key: bytes, value: bytes) -> None:
        try:
            damage.ledger_hour(key, value)
        except StoreError:
            self._note("hour_damaged", "hours", key, self._rolled_up_again(key))

    def _rolled_up_again(self, key: bytes) -> bytes | None:
        """Return the rollup row that belongs under `key`, summed from the log; None when its lines are gone."""
        start_s = int.from_bytes(key[:8], "big")
        hours = hours_from_log(self._txn, self._dbs, start_s, Damage()) if len(key) == 24 else {}
        return next((encode_hour(hour) for hour in hours.values() if layout.hour_key(hour) == key), None)

    def _check_counters(self) -> None:
        row = self._txn.get(layout.META_COUNTERS, db=self._dbs.meta)
        stored = Counters.unpack(row, self._stored_runs)
        readable = stored is not None
        stored = stored or Counters(embedder_runs=self._stored_runs)
        with self._txn.cursor(db=self._dbs.entries) as cursor:
            last_id = layout.unpack_id(cursor.key()) if cursor.last() else 0
        next_id = max(stored.next_entry_id, last_id + 1)
        true = Counters(next_id, self._entries, self._entry_bytes, self._history_bytes, tuple(self._runs))
        if self._runs_damaged:
            self._note("embedder_runs_damaged", "meta", layout.META_RUNS, None)
        if opening.stored_names(self._txn, self._dbs, layout.META_SECRETS) is None:
            self._note("secret_key_ids_damaged", "meta", layout.META_SECRETS, None)
        # Other fixes change the counters too: wrong counters are a problem of their own only where there is no other.
        if true != stored or not readable:
            if not self.fixes or not readable:
                self._report.problem_count += 1
                self._report.problems.append(Problem("counters_wrong", f"stored {stored}, counted {true}"))
            self.fixes.append(("meta", layout.META_COUNTERS, true.pack()))
            if true.embedder_runs != stored.embedder_runs:
                self.fixes.append(("meta", layout.META_RUNS, embedders.pack_runs(true.embedder_runs)))


def _unreadable(path: Path, error: lmdb.Error) -> StoreError:
    return StoreError(
        f"the store at {path} can't be checked ({error}).",
        hint="Restore the folder from a backup, or start an empty one.",
    )
