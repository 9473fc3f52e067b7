"""Settings of operation: the store, metrics, logs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from semcache.settings.section import Bytes, Count, Seconds, Section


class MasterKeySource(Section):
    """The source of a master key of 32 random bytes, as base64 or hex: one of a file, a variable and a command."""

    file: Path | None = None
    environment: str = ""
    """The name of an environment variable that holds the key."""
    command: tuple[str, ...] = ()
    """A program with its arguments that prints the key, such as the client of a key service. No shell runs it."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(map(bool, (self.file, self.environment, self.command))) > 1:
            message = "a master key has one source: a file, an environment variable, or a command"
            raise ValueError(message)
        return self

    @property
    def given(self) -> bool:
        """Whether it names a source."""
        return bool(self.file or self.environment or self.command)


class EncryptionSettings(Section):
    """Encryption at rest (AES-256-GCM): on when `key` names the source of a master key (docs/operations.md)."""

    key: MasterKeySource = MasterKeySource()
    previous_keys: tuple[MasterKeySource, ...] = ()
    """Former master keys. They open the key file, which the next start writes again under `key`."""

    @model_validator(mode="after")
    def _given(self) -> Self:
        if not all(source.given for source in self.previous_keys) or (self.previous_keys and not self.key.given):
            message = "key and each of previous_keys must name a file, an environment variable, or a command"
            raise ValueError(message)
        return self

    @property
    def enabled(self) -> bool:
        """Whether the store is encrypted."""
        return self.key.given


class StoreSettings(Section):
    """The durable store."""

    path: Path = Path("semcache-data")
    map_size_bytes: Bytes = 64 * 1024**3
    """Address space, not disk: the file grows as it fills. Set it once; evictions keep the file below it."""
    max_bytes: Bytes = 8 * 1024**3
    """Bytes of entries and history. Eviction starts at 80 % of it, because deletes need free pages too."""
    ledger_room_bytes: Bytes = 64 * 1024**2
    """Disk that is allocated at the end of the data file and kept for the ledger: entries are refused before they take
    it. 64 MiB hold about 100,000 lines. On a small disk or map it is an eighth of that."""
    without_ledger: Literal["answer", "refuse"] = "answer"
    """What a request gets that needs the upstream while the ledger can't be written, because its room is used up or
    the disk failed. answer: it is answered, its line waits in memory, and a kill loses the line. refuse: it is refused
    before it costs money, and no answer leaves before its spend is on disk."""
    max_entries: Count = 5_000_000
    eviction: Literal["cost", "lru"] = "cost"
    """The entry that is evicted first. cost: the one that saves least per byte and use; lru: the one used longest
    ago."""
    commit_items: Count = 64
    """Writes that share one synced commit: a commit costs the same for one write as for many."""
    commit_wait_s: Annotated[float, Field(ge=0, le=1)] = 0.005
    """The longest that a write waits for others to share its commit."""
    max_queue: Count = 20_000
    """Writes that may wait; beyond them a Store is refused with OVERLOADED."""
    sweep_interval_s: Seconds = 30.0
    """How often expired entries are deleted, once the clock has gone evenly for an hour. They stop being served at
    once."""
    serve_stale_s: Annotated[float, Field(ge=0, le=10 * 365 * 86400)] = 0.0
    """How long beyond its time to live an answer may be given while no target can be reached, marked as stale. Expired
    entries stay on disk so long. 0: never (docs/operations.md)."""
    served_ttl_s: Seconds = 7 * 86_400.0
    """How long a caller can report a verdict on a hit."""
    log_ttl_s: Seconds = 30 * 86_400.0
    """How long the per-request log is kept; its hourly rollup stays."""
    exact_cache_bytes: Bytes = 256 * 1024**2
    """Bytes of decoded entries that the exact tier keeps in memory."""
    encryption: EncryptionSettings = EncryptionSettings()


class MetricsSettings(Section):
    """The metrics page, `/metrics`, over HTTP on a port of its own."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9464
    models: tuple[str, ...] = ()
    """Models that get a label of their own; all others are `other`. Empty: the aliases and models of the routes."""
    task_types: tuple[str, ...] = ("chat", "code", "reasoning", "search", "support")
    ratio_window_s: Seconds = 3600.0
    """The window of the gauges that are derived, such as the hit ratio."""


class LogSettings(Section):
    """Structured logs on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """auto: console on a terminal, JSON elsewhere."""
