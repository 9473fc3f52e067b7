"""Stored answers, deposits, leases, the selector of an invalidation, and the changes of one commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from semcache.model.answer import Answer
from semcache.model.money import Cost
from semcache.model.request import KeyedRequest
from semcache.model.vector import Vector


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request for which an entry was reported to be the wrong answer.

    Attributes:
        exact_key: of the request, 32 bytes.
        vector: its embedding as float16 bytes, 2 × dimension; empty when it had none.
    """

    exact_key: bytes
    vector: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored answer and everything that decides when it may be served.

    Attributes:
        text: the text that is compared by meaning; empty for an entry of the exact tier alone.
        created_s: when the answer was complete, wall-clock seconds.
        expires_s: when it stops being served as fresh, wall-clock seconds; a hit never moves it.
        features: what the guards read in `text`, by feature; made once, when the entry is stored.
        rejections: requests for which it was reported wrong.
        entry_id: 0 until the store has committed it.
        embedder: fingerprint of the embedder that made its vector anew; empty while its vector is the one that it was
            put with.
    """

    tenant: str
    namespace: str
    alias: str
    exact_key: bytes
    partition: bytes
    text: str
    answer: Answer
    cost: Cost
    created_s: float
    expires_s: float
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    task_type: str = ""
    template_id: str = ""
    knowledge_version: str = ""
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rejections: tuple[Rejection, ...] = ()
    entry_id: int = 0
    embedder: str = ""


@dataclass(frozen=True, slots=True)
class Deposit:
    """An answer that a caller brings for the cache.

    Attributes:
        keyed: the request that the answer is for.
        lookup_id: the lookup that missed before; empty for none.
        lease_id: the lease that it was made under; empty for none.
        vector: the caller's own embedding of the compared text; None: the server embeds.
        fingerprint: of the embedder that made `vector`.
        caller: what the log calls the credential of who brings it.
    """

    keyed: KeyedRequest
    answer: Answer
    lookup_id: str = ""
    lease_id: str = ""
    vector: Vector | None = None
    fingerprint: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to generate the answer for one exact key, until a moment (monotonic seconds)."""

    lease_id: str
    exact_key: bytes
    expires_s: float


@dataclass(frozen=True, slots=True)
class Deposited:
    """What became of a deposit.

    Attributes:
        entry: None when nothing was stored.
        cost: what the deposited answer had cost.
        reason: why nothing was stored, as a stable token; empty when the entry was stored.
        detail: the reason as a sentence for a person.
    """

    request_id: str
    entry: Entry | None
    cost: Cost
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Selector:
    """The entries that an invalidation names: all fields that are set must match, of a list of values any one."""

    tenant: str
    entry_ids: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    namespace: str = ""
    alias: str = ""
    created_before_s: float | None = None
    everything: bool = False

    def matches(self, entry: Entry) -> bool:
        """Return whether `entry` is named."""
        return (
            entry.tenant == self.tenant
            and (not self.entry_ids or entry.entry_id in self.entry_ids)
            and (not self.tags or not set(self.tags).isdisjoint(entry.tags))
            and (not self.sources or not set(self.sources).isdisjoint(entry.sources))
            and (not self.namespace or entry.namespace == self.namespace)
            and (not self.alias or entry.alias == self.alias)
            and (self.created_before_s is None or entry.created_s < self.created_before_s)
        )

    @property
    def names_nothing(self) -> bool:
        """Whether no field narrows it and `everything` isn't set."""
        return (
            not self.everything
            and not (self.entry_ids or self.tags or self.sources or self.namespace or self.alias)
            and self.created_before_s is None
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """What one commit of the store changed, for everything that is derived from the store.

    Attributes:
        added: (partition, entry id, vector) of each entry that got a vector.
        removed: (partition, entry id, exact key) of each entry that is gone, or that has expired and lost its vector.
            An entry may be named twice: when it loses its vector, and when it goes.
        rewritten: ids of entries that were rewritten in place.
    """

    added: tuple[tuple[bytes, int, Vector], ...] = ()
    removed: tuple[tuple[bytes, int, bytes], ...] = ()
    rewritten: tuple[int, ...] = ()


def format_entry_id(entry_id: int) -> str:
    """Return an entry's id as callers see it; empty for 0."""
    return f"e{entry_id:x}" if entry_id else ""


def parse_entry_id(text: str) -> int | None:
    """Return the entry id that `text` stands for, or None when it stands for none."""
    if not text.startswith("e") or len(text) > 17:
        return None
    try:
        return int(text[1:], 16) or None
    except ValueError:
        return None
