"""The durable truth: entries, vectors and the ledger in LMDB, written by one thread in grouped, synced commits."""

from semcache.store.checking import AuditReport, Problem, check, repair
from semcache.store.judged import JudgedHit, JudgedHits, read_judged
from semcache.store.ledger_reader import LedgerExtent, LedgerReader
from semcache.store.lmdb_store import LmdbStore

__all__ = [
    "AuditReport",
    "JudgedHit",
    "JudgedHits",
    "LedgerExtent",
    "LedgerReader",
    "LmdbStore",
    "Problem",
    "check",
    "read_judged",
    "repair",
]
