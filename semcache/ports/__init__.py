"""Protocols for the seams that are heavy or nondeterministic; each has a fake in `semcache.testing`.

`Coordination` needs none: its adapter for one process works in memory.
"""

from semcache.ports.clock import Clock
from semcache.ports.coordination import Coordination, PendingLookup
from semcache.ports.embedder import Embedder
from semcache.ports.entries import Entries, EntryPage
from semcache.ports.index import VectorIndex
from semcache.ports.ledger import Ledger
from semcache.ports.store import Capabilities, Store
from semcache.ports.upstream import Upstream
from semcache.ports.vectors import Vectors
from semcache.ports.verdicts import Verdicts

__all__ = [
    "Capabilities",
    "Clock",
    "Coordination",
    "Embedder",
    "Entries",
    "EntryPage",
    "Ledger",
    "PendingLookup",
    "Store",
    "Upstream",
    "VectorIndex",
    "Vectors",
    "Verdicts",
]
