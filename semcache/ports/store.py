"""A durable store: four ports over one back end, its capabilities, and its life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from semcache.errors import SemcacheError
from semcache.model import StoreStats
from semcache.ports.entries import Entries
from semcache.ports.ledger import Ledger
from semcache.ports.vectors import Vectors
from semcache.ports.verdicts import Verdicts


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a back end can do beyond what every port promises.

    Attributes:
        unit_of_work: `Entries.put` and `Verdicts.reject` write the ledger line in the same commit as their change.
        durable: what was acknowledged survives the end of the process.
        shared: other processes see each write, and their writes are seen here.
        ordered_changes: subscribers hear of each commit before its writer is answered.
        immediate_reads: reads of `Entries`, `Vectors`, `Verdicts` and `Ledger.find` return without suspending. An
            `await` of them then costs no task switch and lets nothing else run.
    """

    unit_of_work: bool
    durable: bool
    shared: bool
    ordered_changes: bool
    immediate_reads: bool


class Store(Protocol):
    """The durable truth. Everything else (indexes, caches, budgets) is derived from it."""

    @property
    def capabilities(self) -> Capabilities:
        """What this back end can do."""
        ...

    @property
    def entries(self) -> Entries:
        """Stored answers."""
        ...

    @property
    def vectors(self) -> Vectors:
        """Stored vectors."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The request log and its rollup."""
        ...

    @property
    def verdicts(self) -> Verdicts:
        """Hits as they were served, and what was said of them."""
        ...

    def stats(self) -> StoreStats:
        """Return counts and sizes, after `close` the last ones. Any thread may call this; it costs microseconds."""
        ...

    async def sweep(self) -> int:
        """Delete what has ended (entries, hits, rejections, old log lines); return how many entries that were."""
        ...

    async def failed(self) -> SemcacheError:
        """Wait until the store can't be used any more and no retry helped; return why. Most never return."""
        ...

    async def close(self) -> None:
        """Flush and close. Later writes raise ShuttingDownError."""
        ...
