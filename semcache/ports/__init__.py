"""Protocols for the seams that are heavy or nondeterministic; each has a fake in `semcache.testing`."""

from semcache.ports.clock import Clock
from semcache.ports.embedder import Embedder
from semcache.ports.entries import Entries
from semcache.ports.entry_store import EntryStore
from semcache.ports.index import VectorIndex
from semcache.ports.ledger import Ledger
from semcache.ports.store import Capabilities, Store
from semcache.ports.upstream import Upstream
from semcache.ports.vectors import Vectors
from semcache.ports.verdicts import Verdicts

__all__ = [
    "Capabilities",
    "Clock",
    "Embedder",
    "Entries",
    "EntryStore",
    "Ledger",
    "Store",
    "Upstream",
    "VectorIndex",
    "Vectors",
    "Verdicts",
]
