"""A request as it came in, and the same request with its keys."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum

from semcache.model.protocol import ApiProtocol, ProtocolHeaders


class CacheMode(StrEnum):
    """What a caller allows the cache to do for one request.

    DEFAULT reads and stores. BYPASS does neither. REFRESH asks the upstream and stores. CACHE_ONLY asks no upstream.
    EXACT_ONLY reads and stores in the exact tier alone.
    """

    DEFAULT = "default"
    BYPASS = "bypass"
    REFRESH = "refresh"
    CACHE_ONLY = "cache_only"
    EXACT_ONLY = "exact_only"


class Tier(StrEnum):
    """Which tiers a request may be answered from."""

    NONE = "none"
    EXACT = "exact"
    SEMANTIC = "semantic"


@dataclass(frozen=True, slots=True)
class CacheControl:
    """A caller's wishes for one request. Times are in seconds; None stands for the server's setting."""

    mode: CacheMode = CacheMode.DEFAULT
    ttl_s: float | None = None
    max_age_s: float | None = None
    no_store: bool = False
    similarity_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt made from a named template. Its slots, (name, text), are compared; the text around them isn't."""

    template_id: str
    slots: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in.

    Attributes:
        tenant: who asks, from the credentials.
        body: the raw JSON of its protocol, forwarded byte for byte.
        namespace: divides a tenant's entries.
        tags: labels of the entry that its answer may become.
        sources: what the answer rests on, for invalidation by source.
        task_type: the caller's own word for its task; empty when unset.
        template: the template that the prompt was made from.
        knowledge_version: version of the facts behind the answer; another version is another partition.
        control: the caller's wishes.
        protocol: the API whose shape the body has.
        headers: the protocol's own headers, which change the answer and are forwarded.
        batch: names the requests that one upstream call may answer together; empty for a request by itself.
    """

    tenant: str
    body: bytes
    namespace: str = "default"
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    task_type: str = ""
    template: Template | None = None
    knowledge_version: str = ""
    control: CacheControl = field(default_factory=CacheControl)
    protocol: ApiProtocol = ApiProtocol.CHAT
    headers: ProtocolHeaders = ()
    batch: str = ""

    @property
    def said_task(self) -> Task:
        """The task as its caller named it."""
        return Task(self.task_type, "request") if self.task_type else NO_TASK


@dataclass(frozen=True, slots=True)
class Cacheability:
    """Which tiers a request may use, and the rule that decided it (a stable snake_case token)."""

    tier: Tier
    reason: str


@dataclass(frozen=True, slots=True)
class Task:
    """Kind and complexity of a request's task, each with the reason that it is known by; empty where unknown."""

    task_type: str = ""
    reason: str = ""
    complexity: str = ""
    complexity_reason: str = ""


NO_TASK = Task()


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request with its keys and everything else that the cache derives from it.

    Attributes:
        alias: the model that was asked for.
        exact_key: SHA-256, 32 bytes.
        partition: HMAC-SHA-256, 32 bytes, under the current secret; new entries go there.
        older_partitions: the partitions under older secrets, which are kept for reading.
        inert_partitions: the partitions that the request had under other embedders whose vectors are stored.
        text: the text that is compared by meaning; empty when none may be.
        prompt_chars: characters of all messages, for an estimate where the upstream sends no usage.
        output_limit: the caller's own limit on output tokens, None when unset.
        include_usage: whether a streaming caller wants the chunk that tells the usage alone.
        choices: how many answers the caller wants at once.
        task: what is known of its task; no key depends on it.
    """

    request: Request
    alias: str
    exact_key: bytes
    partition: bytes
    older_partitions: tuple[bytes, ...]
    text: str
    cacheability: Cacheability
    prompt_chars: int
    output_limit: int | None
    include_usage: bool
    choices: int = 1
    task: Task = NO_TASK
    inert_partitions: tuple[bytes, ...] = ()

    @property
    def partitions(self) -> tuple[bytes, ...]:
        """All partitions that may be read, the current one first."""
        return (self.partition, *self.older_partitions)


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys and no white space: equal values give equal bytes in whatever order they came."""
    return _canonical(value).encode()


def is_deeper(value: object, text: bytes, levels: int) -> bool:
    """Return whether a JSON value has more levels of lists and objects than `levels`.

    Args:
        value: the value.
        text: what it was read from. The number of its brackets is an upper bound of the levels and cheap to count, so
            few values need the walk.
        levels: how many it may have; a list or an object is one by itself.
    """
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    pending = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if depth > levels:
            return True
        children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        pending.extend([(child, depth + 1) for child in children if isinstance(child, dict | list)])
    return False
