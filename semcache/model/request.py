"""A request as it came in, and with all that the cache needs to know of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum


class CacheMode(StrEnum):
    """What a caller allows the cache to do for one request."""

    DEFAULT = "default"
    BYPASS = "bypass"
    REFRESH = "refresh"
    CACHE_ONLY = "cache_only"


class Tier(StrEnum):
    """How far a request may look for an answer."""

    NONE = "none"
    EXACT = "exact"
    SEMANTIC = "semantic"


@dataclass(frozen=True, slots=True)
class CacheControl:
    """A caller's wishes for one request. Times in seconds; None means the server's setting."""

    mode: CacheMode = CacheMode.DEFAULT
    ttl_s: float | None = None
    max_age_s: float | None = None
    no_store: bool = False
    similarity_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt made from a named template: slots are compared, the boilerplate isn't."""

    template_id: str
    slots: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in, its caller known. `body` is raw OpenAI JSON and is forwarded as it is."""

    tenant: str
    body: bytes
    namespace: str = "default"
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    task_type: str = ""
    template: Template | None = None
    knowledge_version: str = ""
    control: CacheControl = field(default_factory=CacheControl)

    def __hash__(self) -> int:
        """Over all but the mode, without the Python code of the parts' own: each request is looked up by it."""
        control = self.control
        return hash(
            (
                self.tenant,
                self.body,
                self.namespace,
                self.tags,
                self.sources,
                self.task_type,
                self.template,
                self.knowledge_version,
                control.ttl_s,
                control.max_age_s,
                control.no_store,
                control.similarity_threshold,
            )
        )

    @property
    def said_task(self) -> Task:
        """The caller's own word on its task."""
        return Task(self.task_type, "request") if self.task_type else NO_TASK


@dataclass(frozen=True, slots=True)
class Cacheability:
    """How far a request may look, and the rule that said so (a stable snake_case token)."""

    tier: Tier
    reason: str


@dataclass(frozen=True, slots=True)
class Task:
    """What kind of task a request is and how complex, with what said so (stable snake_case tokens); empty: unknown."""

    task_type: str = ""
    reason: str = ""
    complexity: str = ""
    complexity_reason: str = ""


NO_TASK = Task()


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request with all that the cache needs to know of it.

    Attributes:
        alias: the model that was asked for.
        exact_key: SHA-256, 32 bytes.
        partition: HMAC-SHA-256, 32 bytes, under the current secret; new entries go there.
        older_partitions: the same under secrets kept for reading.
        text: what is compared by meaning; empty when nothing may be.
        prompt_chars: characters of all messages, for estimating usage where the upstream sends none.
        output_limit: the caller's own limit on output tokens, None when unset.
        include_usage: a streaming caller asked for the usage chunk.
        choices: answers asked for at once.
        task: what is known of its task. The keys know nothing of it.
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

    @property
    def partitions(self) -> tuple[bytes, ...]:
        """All that may be read, the current one first."""
        return (self.partition, *self.older_partitions)


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys and no white space: equal values give equal bytes, whatever the order they came in."""
    return _canonical(value).encode()
