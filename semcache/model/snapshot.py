"""The state of one process as typed values, which gRPC, JSON and the metrics page render."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from semcache.model.status import Status


@dataclass(frozen=True, slots=True)
class StoreStats:
    """A store's counts and sizes.

    Attributes:
        entries: live entries, and expired ones that are kept (`store.serve_stale_s`) or not swept yet.
        inert: entries whose vectors are another embedder's.
        used_bytes: what counts against `max_bytes`: entries and history.
        entry_bytes: entries with their keys and vectors.
        history_bytes: request log, rollup and served hits.
        file_bytes: size of the file.
        map_size_bytes: size that the file may reach.
        max_bytes: limit of `used_bytes`, from which on entries are evicted.
        max_entries: limit of `entries`.
        evictions: entries deleted for room since the start.
        expirations: entries deleted for their age since the start.
        reembedded: entries whose vectors another embedder had made, embedded anew since the start.
        pending: writes that wait.
        damaged: rows that could not be read since the start.
        commits: commits since the start.
        failed_commits: commits that failed since the start.
        notes_dropped: ledger lines lost because too many waited, since the start.
        history_dropped: history rows deleted for room since the start.
        ledger_room_bytes: room that entries leave to the ledger, as far as there is any.
        is_writable: whether the last commit reached the disk.
        reopened: how often the data file was opened again after the disk failed, since the start.
        clock_jumps: jumps of the wall clock that were noticed since the start.
    """

    entries: int = 0
    inert: int = 0
    used_bytes: int = 0
    entry_bytes: int = 0
    history_bytes: int = 0
    file_bytes: int = 0
    map_size_bytes: int = 0
    max_bytes: int = 0
    max_entries: int = 0
    evictions: int = 0
    expirations: int = 0
    reembedded: int = 0
    pending: int = 0
    damaged: int = 0
    commits: int = 0
    failed_commits: int = 0
    notes_dropped: int = 0
    history_dropped: int = 0
    ledger_room_bytes: int = 0
    is_writable: bool = True
    reopened: int = 0
    clock_jumps: int = 0


@dataclass(frozen=True, slots=True)
class IndexSize:
    """How many partitions are searched in one way, and how many vectors they hold."""

    partitions: int
    vectors: int


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Partitions in memory.

    Attributes:
        partitions: all of them.
        vectors: theirs together.
        evicted: partitions dropped for room since the start.
        by_strategy: sizes by the name of the search strategy.
    """

    partitions: int = 0
    vectors: int = 0
    evicted: int = 0
    by_strategy: Mapping[str, IndexSize] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How much waits in one queue, and how much may."""

    name: str
    depth: int
    capacity: int


@dataclass(frozen=True, slots=True)
class EmbedderStats:
    """What embeds: names for people, and the vector space.

    Attributes:
        adapter: the name of the adapter in its weights; empty without one.
        adapter_problem: why the adapter that was meant isn't in its weights; empty where nothing is wrong.
    """

    model: str = ""
    fingerprint: str = ""
    backend: str = ""
    device: str = ""
    precision: str = ""
    dimension: int = 0
    adapter: str = ""
    adapter_problem: str = ""


@dataclass(frozen=True, slots=True)
class TenantCounts:
    """What one tenant's requests came to since the process started; money is in nanodollars.

    Attributes:
        requests: requests by status; every status is there.
        unpriced_models: requests by the model that has no known price; their number of names is bounded.
        verdicts: reported verdicts by verdict.
    """

    requests: Mapping[Status, int]
    spent_nanousd: int
    saved_nanousd: int
    unpriced_models: Mapping[str, int]
    verdicts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of one process. Counters run since the start; money is in nanodollars.

    Attributes:
        whole: it is over all tenants. Otherwise the counts are one tenant's own, and what only the whole process has
            (store, index, queues) is left empty.
        started_s: wall-clock seconds.
        requests: requests by status; every status is there.
        hit_ratio: (exact + semantic + coalesced) / (these + miss); None before the first of them.
        unpriced_models: requests by the model that has no known price.
        verdicts: reported verdicts by verdict.
    """

    whole: bool
    version: str
    started_s: float
    uptime_s: float
    requests: Mapping[Status, int]
    hit_ratio: float | None
    store: StoreStats
    index: IndexStats
    queues: tuple[QueueStats, ...]
    embedder: EmbedderStats
    unpriced_models: Mapping[str, int]
    spent_nanousd: int
    saved_nanousd: int
    verdicts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CallStats:
    """The calls of one method since the start: `started` is the sum of `ended` and `running`.

    Attributes:
        started: calls that were handed over.
        running: those that haven't ended.
        ended: how many ended with each gRPC code, by its name.
    """

    started: int
    running: int
    ended: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class FrontStats:
    """What a front measures of itself.

    Attributes:
        delay_s: what a new call waits before the front sees it, seconds.
        refused_share: the share of calls that is refused for load, 0 to 1, of those that aren't exact hits.
        closed_connections: connections that were closed since the start, since they reset too many calls.
    """

    delay_s: float
    refused_share: float
    closed_connections: int
