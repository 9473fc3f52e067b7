"""The durable truth: entries, vectors, ledger and served hits in one LMDB environment.

Owns: the files in `store.path` and the lock on that folder; one process at a time has a store open for writing.
Threads: the writer's thread (`writer`) makes every commit. Reads run on the thread that calls them: short ones on the
    event loop, `Vectors.load` and long reads of the ledger on worker threads.
Remembers: notes and served hits until their commit, accesses for 30 s, the counters of the last commit.
Tells: `Changes` to subscribers on the event loop after each commit, before its writers are answered.
Beside a server, other processes may check the store, read its ledger (`LedgerReader`) and its judged hits.
"""

from semcache.store.checking import CheckReport, Problem, check, repair
from semcache.store.judged import JudgedHit, JudgedHits, read_judged
from semcache.store.ledger_reader import LedgerExtent, LedgerReader
from semcache.store.lmdb_store import LmdbStore

__all__ = [
    "CheckReport",
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
