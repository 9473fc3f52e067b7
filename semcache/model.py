"""The values that travel through semcache: frozen, free of behaviour that needs a library beyond numpy.

What each request makes anew is a named tuple: a frozen dataclass takes three times as long to make.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NANOUSD_PER_USD = 1_000_000_000

Vector = NDArray[np.float32]
"""One embedding: shape (dimension,), float32, unit length."""


class Status(StrEnum):
    """How a request ended. Their counts add up to the requests: see `observe.metrics`."""

    EXACT_HIT = "exact_hit"
    SEMANTIC_HIT = "semantic_hit"
    COALESCED = "coalesced"
    MISS = "miss"
    BYPASS = "bypass"
    REFRESH = "refresh"
    ERROR = "error"
    CANCELLED = "cancelled"

    __hash__ = str.__hash__
    """In C: an enum's own runs in Python, and a request looks its status up a dozen times."""


HIT_STATUSES = frozenset({Status.EXACT_HIT, Status.SEMANTIC_HIT, Status.COALESCED})


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


class Usage(NamedTuple):
    """Tokens of one upstream call.

    `input_tokens` includes `cached_input_tokens`, read from the provider's prompt cache, and `cache_write_tokens`,
    written to it.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    cache_write_tokens: int = 0


class Cost(NamedTuple):
    """The price of one usage in integer nanodollars; `priced` is False when the model has no known price.

    What the provider charges for writing its prompt cache, and any fee per call, is in `input_nanousd`.
    """

    input_nanousd: int = 0
    cached_input_nanousd: int = 0
    output_nanousd: int = 0
    priced: bool = False
    price_version: str = ""

    @property
    def total_nanousd(self) -> int:
        """Sum of the three parts, nanodollars."""
        return self.input_nanousd + self.cached_input_nanousd + self.output_nanousd


NO_USAGE = Usage()
NO_COST = Cost()
ZERO_COST = Cost(priced=True)
"""What a hit spends upstream: nothing, and that is known."""


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


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer of an upstream.

    Attributes:
        body: the `chat.completion` JSON as the upstream sent it, or assembled from its stream.
        model: the model that the upstream says it used.
        target_model: the model that was asked of the target (the route's); a hit requires it to be still routed.
        route: the target's name, empty for an answer that a caller stored.
        tool_calls: the answer calls tools or functions.
    """

    body: bytes
    model: str
    finish_reason: str
    usage: Usage
    text: str = ""
    target_model: str = ""
    route: str = ""
    degraded: bool = False
    tool_calls: bool = False
    latency_s: float = 0.0
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class UpstreamCall:
    """What an upstream needs to answer: the body as the caller sent it, and when to give up (monotonic seconds).

    Attributes:
        task_type: chooses among the alias's routes; empty when unknown.
        complexity: the same.
        degraded: the route's degraded alias is asked first.
        barred: models that may not be asked now, whoever runs them (a budget bars them).
    """

    alias: str
    body: bytes
    deadline_s: float
    request_id: str
    task_type: str = ""
    complexity: str = ""
    degraded: bool = False
    barred: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Mode:
    """How the upstream runs now: whether degraded, why, and by which measures (`settings.DegradedSettings`)."""

    active: bool = False
    reason: str = ""
    measures: frozenset[str] = frozenset()


NORMAL = Mode()


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


class Neighbour(NamedTuple):
    """An entry near a vector. Similarity is the exact cosine."""

    entry_id: int
    similarity: float


class Effect(StrEnum):
    """What a guard's finding does to a candidate."""

    VETO = "veto"
    FEATURE = "feature"
    PASS = "pass"  # noqa: S105 - a verdict


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """One guard's finding on one candidate.

    `adjustment` is what a FEATURE adds to the candidate's score, in units of the cosine; 0 for PASS and VETO.
    """

    guard: str
    effect: Effect
    detail: str = ""
    adjustment: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate as the decision sees it: the stored entry and its cosine to the request."""

    entry: Entry
    similarity: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """Why a candidate was or wasn't served. `reason` is a stable snake_case token.

    `score` is the similarity with the guards' adjustments, at most 1: what the threshold is held against. None: too far
    away for any adjustment to matter, so the guards weren't asked.
    """

    candidate: Candidate
    served: bool
    reason: str
    verdicts: tuple[GuardVerdict, ...] = ()
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with the candidates of one request; at most one judgement is served."""

    judgements: tuple[Judgement, ...]
    reason: str
    threshold: float

    @property
    def served(self) -> Judgement | None:
        """The candidate to serve, or None."""
        return next((j for j in self.judgements if j.served), None)


class Response(NamedTuple):
    """What the cache answers, and why.

    `answer` is None only for a lookup that missed. `stages` are (name, seconds). `reason` is a stable snake_case token,
    `detail` the sentence for a person.
    """

    status: Status
    reason: str
    alias: str
    answer: Answer | None = None
    detail: str = ""
    entry_id: int = 0
    similarity: float | None = None
    verdicts: tuple[GuardVerdict, ...] = ()
    effective_threshold: float | None = None
    usage: Usage = NO_USAGE
    cost: Cost = NO_COST
    saved: Cost = NO_COST
    stored: bool = False
    store_reason: str = ""
    task: Task = NO_TASK
    request_id: str = ""
    hit_id: str = ""
    age_s: float | None = None
    stages: tuple[tuple[str, float], ...] = ()

    @property
    def lasting(self) -> tuple[object, ...]:
        """All before `request_id`: what is the same each time that one entry is served to one request."""
        return self[:_LASTING]


_LASTING = Response._fields.index("request_id")


@dataclass(frozen=True, slots=True)
class Started:
    """The first frame of a stream: how the request will be answered."""

    response: Response


@dataclass(frozen=True, slots=True)
class Finished:
    """The last frame of a stream: what it took."""

    response: Response


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
class Deposited:
    """What became of a deposit: `entry` is None when it wasn't stored, `reason` says why (a stable token)."""

    request_id: str
    entry: Entry | None
    cost: Cost
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen to a request, and why; nothing was served, stored or counted."""

    request_id: str
    keyed: KeyedRequest
    status: Status
    reason: str
    decision: Decision | None
    exact_entry_id: int
    partition_entries: int
    embedded_tokens: int
    models: tuple[str, ...] = ()
    """Those that a call could be sent to now, the likeliest first."""


class Purpose(StrEnum):
    """What a line of the request log is about."""

    REQUEST = "request"
    DEPOSIT = "deposit"
    """A caller's Store: what its own stack spent. Its Lookup was the request."""
    WRONG_HIT = "wrong_hit"
    """A verdict that a hit was wrong, with what a wrong answer costs as its overhead."""
    VERIFIER = "verifier"
    """A second model's opinion on an answer."""

    __hash__ = str.__hash__


class LedgerRecord(NamedTuple):
    """One line of the request log. `request_id` sorts by time; `at_s` is wall-clock seconds.

    `spent` is what the upstream charged for this request (counted once per upstream call), `saved` what it would have
    charged and didn't, `overhead_nanousd` what semcache's own work on it costs at the configured rates. `requests` is 0
    for a line whose request has another line: `purpose` then says what it is about.
    """

    request_id: str
    at_s: float
    tenant: str
    namespace: str
    alias: str
    model: str
    task_type: str
    status: Status
    usage: Usage
    spent: Cost
    saved: Cost
    entry_id: int = 0
    similarity: float | None = None
    latency_s: float = 0.0
    requests: int = 1
    overhead_nanousd: int = 0
    route: str = ""
    """The target that answered, or had produced the answer; empty for none and for a caller's own stack."""
    degraded: bool = False
    purpose: Purpose = Purpose.REQUEST

    @property
    def uses_entry(self) -> bool:
        """Whether it is the line of a hit on the entry `entry_id`."""
        return self.entry_id > 0 and self.requests > 0 and self.status in HIT_STATUSES


@dataclass(frozen=True, slots=True)
class LedgerHour:
    """The log rolled up: one hour × tenant × model × task type × status. Money in nanodollars, the hour in seconds."""

    hour_s: int
    tenant: str
    model: str
    task_type: str
    status: Status
    requests: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    spent_input_nanousd: int = 0
    spent_cached_input_nanousd: int = 0
    spent_output_nanousd: int = 0
    saved_nanousd: int = 0
    unpriced: int = 0
    estimated: int = 0
    cache_write_tokens: int = 0
    overhead_nanousd: int = 0
    wrong_hits: int = 0

    @property
    def spent_nanousd(self) -> int:
        """All that was spent, nanodollars."""
        return self.spent_input_nanousd + self.spent_cached_input_nanousd + self.spent_output_nanousd


class ServedHit(NamedTuple):
    """A hit as it was served, kept so that a later verdict can be tied to it. `hit_id` is the request's id."""

    hit_id: str
    tenant: str
    entry_id: int
    status: Status
    exact_key: bytes
    text: str
    similarity: float
    at_s: float
    vector: bytes = b""
    """float16 bytes, 2 × dimension; empty for an exact hit."""
    verdict: str = ""


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


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys and no white space: equal values give equal bytes, whatever the order they came in."""
    return _canonical(value).encode()


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
