"""A stored answer, what names it for an invalidation, and what one commit changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from semcache.model.answer import Answer
from semcache.model.money import Cost
from semcache.model.request import KeyedRequest
from semcache.model.vector import Vector


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request for which an entry was reported to be the wrong answer."""

    exact_key: bytes
    vector: bytes
    """The request's embedding as float16 bytes, 2 × dimension; empty when it had none."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored answer and all that decides when it may be served. `entry_id` is 0 until the store has committed it.

    `created_s` and `expires_s` are wall-clock seconds; a hit never moves them. `features` are the guards' parse of
    `text`, made once when stored.
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


@dataclass(frozen=True, slots=True)
class Deposit:
    """An answer that a caller brings for the cache.

    Attributes:
        keyed: the request that it answers.
        lookup_id: the lookup that missed before, empty for none.
        lease_id: the lease it was made under, empty for none.
        vector: the caller's own embedding of the compared text; None: the server embeds.
        fingerprint: what made `vector`.
    """

    keyed: KeyedRequest
    answer: Answer
    lookup_id: str = ""
    lease_id: str = ""
    vector: Vector | None = None
    fingerprint: str = ""


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
    """What an invalidation names: the fields that are set must all match. Tags, sources and ids match any of theirs."""

    tenant: str
    entry_ids: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    namespace: str = ""
    alias: str = ""
    created_before_s: float | None = None
    everything: bool = False

    def matches(self, entry: Entry) -> bool:
        """Whether `entry` is named."""
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
        """True when no field narrows it and `everything` isn't said."""
        return (
            not self.everything
            and not (self.entry_ids or self.tags or self.sources or self.namespace or self.alias)
            and self.created_before_s is None
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """What one commit of the store changed, for everything that is derived from it.

    `added` holds (partition, entry id, vector); `removed` holds (partition, entry id, exact key); `rewritten` holds the
    ids of entries that were rewritten in place.
    """

    added: tuple[tuple[bytes, int, Vector], ...] = ()
    removed: tuple[tuple[bytes, int, bytes], ...] = ()
    rewritten: tuple[int, ...] = ()


def format_entry_id(entry_id: int) -> str:
    """An entry's id as callers see it; empty for 0."""
    return f"e{entry_id:x}" if entry_id else ""


def parse_entry_id(text: str) -> int | None:
    """The id behind `text`, or None when it isn't one."""
    if not text.startswith("e") or len(text) > 17:
        return None
    try:
        return int(text[1:], 16) or None
    except ValueError:
        return None
