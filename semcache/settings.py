"""One frozen, validated tree of settings; the only reader of the environment and of the TOML file.

Every default stands beside its field with its unit and its reason. A value is looked up in the environment
(`SEMCACHE_SERVER__PORT=…`, two underscores between levels) before the file.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import re
import tomllib
import zoneinfo
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from semcache.errors import SettingsError

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86400)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1)]
Cosine = Annotated[float, Field(ge=-1.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}$")]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        message = f"not a regular expression ({error})"
        raise ValueError(message) from error
    return pattern


def _whole_hours(name: str) -> str:
    try:
        zone = zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError) as error:
        raise ValueError(f"{name!r} is no time zone; use an IANA name such as Europe/Berlin") from error
    now = dt.datetime.now(zone)
    offsets = [(now + dt.timedelta(days=days)).utcoffset() for days in range(0, 366, 30)]
    if any(offset is None or offset % dt.timedelta(hours=1) for offset in offsets):
        raise ValueError(f"{name} is not whole hours from UTC, which the hourly ledger can't be cut by; use UTC")
    return name


Pattern = Annotated[str, AfterValidator(_compiles)]


class Section(BaseModel):
    """A part of the tree: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class TlsSettings(Section):
    """Server certificate; the files are read again when they change, without a restart."""

    certificate_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    """Set: clients must show a certificate signed by it, and its subject may name the tenant (`auth.certificates`)."""
    reload_interval_s: Seconds = 10.0
    """How often the files' times are looked at."""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            message = "certificate_file and key_file go together"
            raise ValueError(message)
        if self.client_ca_file is not None and self.certificate_file is None:
            message = "client_ca_file needs certificate_file and key_file"
            raise ValueError(message)
        for path in (self.certificate_file, self.key_file, self.client_ca_file):
            if path is not None and not os.access(path, os.R_OK):
                message = f"{path} can't be read"
                raise ValueError(message)
        return self

    @property
    def enabled(self) -> bool:
        """Whether the server speaks TLS."""
        return self.certificate_file is not None


class ServerSettings(Section):
    """The gRPC listener."""

    host: str = "127.0.0.1"
    """Loopback: with auth off nothing else is allowed."""
    port: Annotated[int, Field(ge=0, le=65535)] = 50051
    """0 picks a free port; `serve` prints it."""
    grace_s: Seconds = 20.0
    """After SIGTERM in-flight calls may finish for this long: longer than most answers, below Kubernetes' 30 s."""
    max_message_bytes: Bytes = 4 * 1024 * 1024
    """gRPC's own default; a prompt of 4 MiB is about a million tokens."""
    max_in_flight: Count = 1024
    """Calls at once; beyond it a call is refused with OVERLOADED instead of waiting."""
    max_connections_age_s: Seconds = 3600.0
    """Connections are renewed so that load balancers can move them."""
    keepalive_s: Seconds = 30.0
    """A ping on quiet connections, so that dead peers are noticed."""
    reflection: bool = True
    """The schema is public; generic tools need it."""
    tls: TlsSettings = TlsSettings()


class ApiKey(Section):
    """One API key, known only by its hash."""

    tenant: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hex SHA-256 of the key: `printf %s "$KEY" | sha256sum`. Keys are long and random, so a plain hash suffices."""


class ClientCertificate(Section):
    """A client certificate's common name that stands for a tenant."""

    common_name: Annotated[str, Field(min_length=1, max_length=256)]
    tenant: Name


class AuthSettings(Section):
    """Who is asking. Off: one tenant, `default`, and loopback only."""

    enabled: bool = False
    keys: tuple[ApiKey, ...] = ()
    certificates: tuple[ClientCertificate, ...] = ()
    trust_tenant_header: bool = False
    """True: an authenticated caller may name the tenant in the `x-semcache-tenant` metadata. Only behind a gateway
    that sets it itself."""
    read_all_savings: tuple[Name, ...] = ()
    """Tenants whose callers GetSavings tells of every tenant: whoever answers for the money."""


class LimitSettings(Section):
    """Everything that can grow, and how far."""

    prompt_chars: Count = 1_000_000
    """Characters of all messages of one request."""
    json_depth: Count = 64
    """Nesting of the request's JSON; deeper is refused before parsing."""
    tags: Count = 32
    """Tags, and sources, of one entry."""
    tenant_in_flight: Count = 256
    """Calls at once of one tenant: a quarter of the server's, so that one tenant can't starve the others."""
    batch_items: Count = 256
    """Items of one LookupBatch or StoreBatch."""
    answer_bytes: Bytes = 16 * 1024 * 1024
    """One answer, and so what a stream may buffer for its followers."""
    list_entries: Count = 10_000
    """Entries that one ListEntries call streams at most."""
    pending_lookups: Count = 100_000
    """Lookup ids remembered for a later Store."""
    lookup_ttl_s: Seconds = 600.0
    """How long a lookup id may be used: longer than the slowest generation."""
    lease_max_s: Seconds = 120.0
    """The longest lease that a Lookup may ask for."""


class KeySettings(Section):
    """The secret behind partitions. Partitions are HMACs: without the secret nobody can name another tenant's."""

    secret: SecretStr | None = None
    """At least 16 characters. None: `secret_file`."""
    secret_file: Path | None = None
    """None: `<store.path>/partition.secret`, made on the first start with mode 0600."""
    previous_secrets: tuple[SecretStr, ...] = ()
    """Kept for reading while entries made under them live; new entries use the current one."""

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        minimum = 16
        secrets = [*self.previous_secrets, *([self.secret] if self.secret else [])]
        if any(len(secret.get_secret_value()) < minimum for secret in secrets):
            message = f"a secret needs at least {minimum} characters"
            raise ValueError(message)
        return self


class DeclaredTemplate(Section):
    """A template that callers may name."""

    id: Name
    slots: tuple[Name, ...] = ()
    """All that a use must fill, no more and no fewer."""
    by_meaning: tuple[Name, ...] | None = None
    """Slots that are compared by meaning, the others must be equal; None: those longer than `long_slot_chars`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.slots)) < len(self.slots):
            raise ValueError(f"template {self.id} names a slot twice")
        unknown = set(self.by_meaning or ()) - set(self.slots)
        if unknown:
            raise ValueError(f"template {self.id} has no slot {min(unknown)}, which by_meaning names")
        return self


class CacheabilitySettings(Section):
    """Which requests may be answered from the cache at all."""

    max_temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    """An explicit temperature above this asks for variety: bypass. Unset is not above."""
    time_sensitive: tuple[Pattern, ...] = (
        r"\b(right now|as of now|at the moment|today'?s?|tonight'?s?|yesterday'?s?|tomorrow'?s?)\b",
        r"\bthis (morning|afternoon|evening|week|weekend|month)\b",
        r"\b(current|latest|live) (time|date|weather|news|score|scores|price|prices|status|exchange rate)\b",
        r"\bwhat (time|day|date) is it\b",
    )
    """Matched, case aside, against the text that is compared: its answer goes stale, so neither read nor stored."""
    personal: tuple[Pattern, ...] = (
        r"(?<![\w.+-])[\w.+-]+@[\w-]+\.[\w.]+",
        r"\b(?:\d[ -]?){13,19}\b",
        r"\bmy (name is|ssn|social security number|date of birth|passport number)\b",
    )
    """The same for requests about one person."""
    ttl_s: Seconds = 86_400.0
    """How long an answer lives when the caller doesn't say: a day. Absolute, never refreshed by a hit."""
    max_ttl_s: Seconds = 30 * 86_400.0
    """A caller's longer ttl is cut to this."""
    long_slot_chars: Count = 24
    """A template's slot longer than this is compared by meaning, a shorter one exactly."""
    templates: tuple[DeclaredTemplate, ...] = ()
    """Templates that callers may name, checked slot by slot; empty: any, unchecked but for their values."""

    @model_validator(mode="after")
    def _check_templates(self) -> Self:
        ids = [template.id for template in self.templates]
        if len(set(ids)) < len(ids):
            raise ValueError("templates declares an id twice")
        return self


class EmbeddingSettings(Section):
    """The embedding model and its device."""

    model: str = DEFAULT_MODEL
    """A local path, or a name that an installed package or the hub has."""
    backend: Literal["auto", "torch", "openvino"] = "auto"
    """auto: torch on a GPU, else OpenVINO where it is installed, else torch."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 where the device computes in it faster, else fp32; cosines move by less than 1e-4."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads of one forward pass on a CPU; 0: all cores."""
    max_batch: Count = 32
    """Texts in one forward pass. Beyond 32 a CPU gains nothing and every caller waits longer; a GPU takes 256."""
    max_batch_gpu: Count = 256
    max_queue: Count = 2048
    """Texts waiting; beyond it a request is refused with OVERLOADED."""
    cache_dir: Path | None = None
    """Where a converted model is kept between starts; None: the user's cache folder."""


class IndexSettings(Section):
    """Nearest neighbours within a partition."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: a GPU when faiss sees one."""
    numpy_below: Count = 256
    """Vectors in a partition below which a plain matrix product beats a FAISS index."""
    flat_below: Count = 20_000
    """Up to here exact flat search on a CPU: 0.6 ms at 10,000 vectors; beyond it IVF."""
    gpu_from: Count = 20_000
    """Below this the copy to a GPU costs more than the search."""
    nprobe: Count = 32
    """Lists searched per query of an IVF index."""
    overfetch: Count = 20
    """Candidates fetched per wanted one from a compressed index, to be rescored exactly."""
    max_partitions: Count = 100_000
    """Partitions in memory; the least recently searched leave first."""
    max_vectors: Count = 5_000_000
    """Vectors in memory over all partitions, 1.5 kB each at 384 dimensions."""
    threads: Count = 1
    """Threads of one search."""
    max_queue: Count = 4096
    """Searches waiting; beyond it a request is refused with OVERLOADED."""


class NamespaceThreshold(Section):
    """A threshold of its own for a namespace, a task type, or both."""

    namespace: str = ""
    task_type: str = ""
    threshold: Cosine


class DecisionSettings(Section):
    """When a candidate may be served."""

    policy: Literal["threshold"] = "threshold"
    threshold: Cosine = 0.97
    """Cosine. At .97 about 4 % of hard traps pass the cosine alone; the guards take most of those."""
    overrides: tuple[NamespaceThreshold, ...] = ()
    """The most specific that matches wins: namespace and task type, then namespace, then task type."""
    k: Annotated[int, Field(ge=1, le=100)] = 5
    """Candidates looked at: a vetoed one may hide a right one behind it."""
    guards: tuple[str, ...] = (
        *("numbers", "dates", "units", "identifiers", "polarity", "direction"),
        *("language", "code", "quotes", "names", "wording"),
    )
    """Guards by name, in order; each may veto, or move the score by a stated amount."""


class Target(Section):
    """One place that answers OpenAI-compatible chat completions."""

    name: Name
    base_url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    """Up to and with `/v1`; `/chat/completions` is appended."""
    api_key_env: str = ""
    """The environment variable that holds the key."""
    api_key_file: Path | None = None
    """Or the file that does."""
    requires_key: bool = False
    """True: a start without a key is refused, for a target that answers nobody without one."""
    headers: Mapping[str, str] = {}
    """Sent with each request."""
    connect_timeout_s: Seconds = 5.0
    timeout_s: Seconds = 120.0
    """For the whole answer; between two chunks of a stream, `stall_timeout_s`. Less where other targets could still
    answer: each gets an equal share of what is left of `deadline_s`."""
    stall_timeout_s: Seconds = 60.0
    max_connections: Count = 256


class WeightedTarget(Section):
    """One of the places that a route may lead to."""

    target: Name
    model: str = ""
    """What the target is asked for; empty: the alias itself."""
    weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Its share of the calls, beside the other weights of the route; 0: only when those with a weight can't answer."""


class Fallback(Section):
    """An alias that answers when a route can't."""

    alias: Name
    degraded: bool = False
    """True: its answers are worse, and flagged so: callers are told, and nobody else is served them."""


def _fallback(value: object) -> object:
    return {"alias": value} if isinstance(value, str) else value


class Route(Section):
    """What an alias stands for, for all calls or for those of one task type or complexity; the most specific wins."""

    alias: Name | Literal["*"]
    """The model that callers ask for; `*` takes every alias that no other route names."""
    task_type: str = ""
    """Only calls of this task type; empty: of any. Counts for more than the complexity."""
    complexity: str = ""
    """Only calls of this complexity, a word of the callers' own; empty: of any."""
    target: str = ""
    """Where calls go: the short form for one target."""
    model: str = ""
    """What that target is asked for; empty: the alias itself."""
    targets: tuple[WeightedTarget, ...] = ()
    """Or several: `[{target = "openai", model = "gpt-5", weight = 3}, {target = "azure", model = "gpt-5"}]`."""
    fallbacks: tuple[Annotated[Fallback, BeforeValidator(_fallback)], ...] = ()
    """Aliases that are asked in order when no target of the route can answer: `["other", {alias = "mini", degraded =
    true}]`. Their own fallbacks follow them."""
    degraded: str = ""
    """The alias that answers instead for degraded calls; its answers are flagged. Empty: there is none."""

    @property
    def destinations(self) -> tuple[WeightedTarget, ...]:
        """Where the route leads, whichever form says it."""
        return (WeightedTarget(target=self.target, model=self.model),) if self.target else self.targets

    @property
    def title(self) -> str:
        """The route as a person would name it."""
        narrower = (("task type", self.task_type), ("complexity", self.complexity))
        return f"route {self.alias!r}" + "".join(f", {name} {value!r}" for name, value in narrower if value)


class RetrySettings(Section):
    """Tries beyond the first.

    At the same target for 429, 502, 503, 504 and connection errors only; at another target for everything that isn't
    the request's own fault.
    """

    max_retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Repeated tries of one call at targets that failed it already."""
    backoff_s: Seconds = 0.25
    """Before the first repeated try; doubles each time, with full jitter."""
    max_backoff_s: Seconds = 8.0
    """A longer Retry-After ends the repeated tries."""
    budget_ratio: Annotated[float, Field(ge=0, le=10)] = 0.2
    """Tries beyond their first that all calls together may make, as a share of the calls: trouble mustn't multiply."""
    budget_floor: Annotated[int, Field(ge=0)] = 10
    """As many are allowed in a window of few calls, twice what it takes to open a breaker."""
    budget_window_s: Seconds = 60.0
    """The window of the two."""


class BreakerSettings(Section):
    """When a target that fails is no longer asked, and for how long."""

    failures: Count = 5
    """In a row: where 10 % of calls fail by chance, five do so once in 100,000; each costs one more try elsewhere."""
    failure_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Or this share of the calls in the window: a target that fails every other one costs more than it gives."""
    window_s: Seconds = 30.0
    min_samples: Count = 20
    """Calls in the window below which the share says nothing."""
    open_s: Seconds = 5.0
    """Not asked for so long: the time of a restart. Doubles each time that it still fails then."""
    max_open_s: Seconds = 120.0
    """The longest, so that a target that is back is found within two minutes; also the longest Retry-After heeded."""
    probes: Count = 3
    """Calls at once that may try whether it is back: one alone could be an answer of minutes that holds up the rest."""


class DegradedSettings(Section):
    """When the server saves dollars or time at the price of quality. Conditions that are unset aren't looked at."""

    enabled: bool = False
    on_budget: bool = True
    """While a budget is used up."""
    error_rate_enter: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Entered above this share of failed upstream calls, such as 0.2."""
    error_rate_leave: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Left at or below this one, which must be lower, or the mode would flutter."""
    p95_enter_s: Seconds | None = None
    """Entered above this 95th percentile of the time of upstream calls that succeed."""
    p95_leave_s: Seconds | None = None
    """Left at or below this one, which must be lower."""
    window_s: Seconds = 60.0
    """What both are measured over."""
    min_samples: Count = 20
    """Calls in the window below which they say nothing."""
    hold_s: Seconds = 60.0
    """All conditions must be over for so long."""
    measures: tuple[Literal["mini_model", "optional_off", "smaller_batches"], ...] = ("mini_model", "optional_off")
    """What is told to whoever can save: mini_model, each route's `degraded` alias answers; optional_off, what isn't
    needed for an answer rests; smaller_batches, batches stay small."""


class UpstreamSettings(Section):
    """Where answers come from."""

    targets: tuple[Target, ...] = ()
    routes: tuple[Route, ...] = ()
    """Empty with one target: every alias goes there as it is."""
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    degraded: DegradedSettings = DegradedSettings()
    deadline_s: Seconds = 300.0
    """An upstream call may run this long though its callers have left; all its tries share it."""
    route_policy_version: str = "1"
    """Part of every exact key: raise it when answers under the old routes should no longer be served."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        problems = [
            *_target_problems(self.targets),
            *_route_problems(self.routes, {target.name for target in self.targets}),
            *_fallback_problems(self.routes),
            *_degraded_problems(self.degraded, self.routes),
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


class TaskRule(Section):
    """A pattern that tells a task type."""

    task_type: Name
    pattern: Pattern
    """Searched, case aside, in the text that is compared (the last user message)."""


class TaskExemplars(Section):
    """Prompts that are typical of a task type."""

    task_type: Name
    texts: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


class ComplexityRule(Section):
    """What makes a request this complex: all that is named here must hold."""

    complexity: Name
    """A name of your own, for the routes: low, high, …"""
    min_chars: Count | None = None
    """Characters of all messages."""
    pattern: Pattern | None = None
    """As of a task's rule."""
    task_types: tuple[Name, ...] = ()
    """Only for requests of these; empty: all."""


class TaskSettings(Section):
    """How a request's task type and complexity are found: for its route, its decision's threshold and its costs."""

    types: tuple[Name, ...] = ("chat", "code", "reasoning", "search", "support")
    """The task types that rules and exemplars may name. Callers may name any."""
    rules: tuple[TaskRule, ...] = ()
    """For requests that name no task type: the first that matches."""
    exemplars: tuple[TaskExemplars, ...] = ()
    """For those that no rule knows: the task type of the nearest. They must then be embedded before they are routed."""
    exemplar_similarity: Cosine = 0.5
    """The cosine from which an exemplar is near enough: unrelated prompts mostly stay below .3."""
    complexity: tuple[ComplexityRule, ...] = ()
    """The first that matches; none: no complexity."""
    critical: tuple[Name, ...] = ()
    """Task types whose answers are stored only when the verifier confirms them."""
    verifier: str = ""
    """The model alias that is asked whether an answer is right. Its calls are spending like any other."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = [("rules", rule.task_type) for rule in self.rules]
        named += [("exemplars", group.task_type) for group in self.exemplars]
        named += [("critical", name) for name in self.critical]
        problems = [
            f"{where} name the unknown task type {name!r}; types lists those that are known"
            for where, name in dict.fromkeys(named)
            if name not in self.types
        ]
        if self.critical and not self.verifier:
            problems.append("critical needs a verifier")
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _repeated(values: Iterable[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


def _target_problems(targets: Sequence[Target]) -> Iterator[str]:
    for name in _repeated(target.name for target in targets):
        yield f"target {name!r} is named twice"
    for target in targets:
        if target.api_key_env and target.api_key_file:
            yield f"target {target.name!r} has both api_key_env and api_key_file"
        if target.api_key_env and target.api_key_env not in os.environ:
            yield f"target {target.name!r}: environment variable {target.api_key_env} is not set"
        elif target.requires_key and target.api_key_env and not os.environ[target.api_key_env].strip():
            yield f"target {target.name!r} requires a key: environment variable {target.api_key_env} is empty"
        if target.requires_key and not target.api_key_env and not target.api_key_file:
            yield f"target {target.name!r} requires a key: set api_key_env or api_key_file"
        if target.api_key_file and not os.access(target.api_key_file, os.R_OK):
            yield f"target {target.name!r}: {target.api_key_file} can't be read"


def _route_problems(routes: Sequence[Route], targets: AbstractSet[str]) -> Iterator[str]:
    for route in routes:
        if route.target and route.targets:
            yield f"{route.title} has both target and targets"
        elif route.model and not route.target:
            yield f"{route.title} has a model without a target: name it beside each of its targets"
        elif not route.destinations:
            yield f"{route.title} goes to no target"
        elif not any(place.weight for place in route.destinations):
            yield f"{route.title} gives none of its targets a weight above 0"
        for place in route.destinations:
            if place.target not in targets:
                yield f"{route.title} goes to unknown target {place.target!r}"
        for target, model in _repeated((place.target, place.model) for place in route.destinations):
            yield f"{route.title} names target {target!r} with model {model!r} twice"
    for title in _repeated(route.title for route in routes):
        yield f"there are two routes for {title.removeprefix('route ')}"


def _fallback_problems(routes: Sequence[Route]) -> Iterator[str]:
    # `*` doesn't make an alias known here: a slip of the pen would lead there unseen.
    known = {route.alias for route in routes}
    for route in routes:
        for fallback in route.fallbacks:
            if fallback.alias not in known:
                yield f"{route.title} falls back to alias {fallback.alias!r}, which no route names"
        if route.degraded and route.degraded not in known:
            yield f"{route.title} degrades to alias {route.degraded!r}, which no route names"
        if route.degraded == route.alias:
            yield f"{route.title} degrades to itself"
    leads_to: dict[str, list[str]] = {}
    for route in routes:
        leads_to.setdefault(route.alias, []).extend(fallback.alias for fallback in route.fallbacks)
    for cycle in _cycles(leads_to):
        yield f"fallbacks go round in a circle: {' → '.join([*cycle, cycle[0]])}"


def _cycles(leads_to: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The cycles that a search from each name meets; each name is entered once."""
    cycles: list[list[str]] = []
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            cycles.append(path[path.index(name) :])
        elif name not in done:
            done.add(name)
            for following in dict.fromkeys(leads_to.get(name, ())):
                visit(following, [*path, name])

    for name in leads_to:
        visit(name, [])
    return cycles


def _degraded_problems(settings: DegradedSettings, routes: Sequence[Route]) -> Iterator[str]:
    if not settings.enabled:
        return
    pairs = (
        ("error_rate_enter", settings.error_rate_enter, "error_rate_leave", settings.error_rate_leave),
        ("p95_enter_s", settings.p95_enter_s, "p95_leave_s", settings.p95_leave_s),
    )
    for enter_name, enter, leave_name, leave in pairs:
        if (enter is None) != (leave is None):
            yield f"degraded: {enter_name} and {leave_name} go together"
        elif enter is not None and leave is not None and leave >= enter:
            yield f"degraded: {leave_name} {leave:g} must be below {enter_name} {enter:g}, or the mode can't be left"
    if not settings.on_budget and all(enter is None for _, enter, _, _ in pairs):
        yield "degraded: it is enabled, and nothing can start it: set on_budget, error_rate_enter or p95_enter_s"
    if not settings.measures:
        yield "degraded: it is enabled, and measures is empty"
    if "mini_model" in settings.measures and not any(route.degraded for route in routes):
        yield "degraded: measures has mini_model, and no route names a degraded alias"


class StoreSettings(Section):
    """The durable store."""

    path: Path = Path("semcache-data")
    map_size_bytes: Bytes = 64 * 1024**3
    """Address space, not disk: the file grows as it fills. Set once; evictions keep below it."""
    max_bytes: Bytes = 8 * 1024**3
    """Live bytes; eviction starts at 80 % of it (deletes need free pages too)."""
    max_entries: Count = 5_000_000
    eviction: Literal["cost", "lru"] = "cost"
    """cost: what saves least per byte and use goes first; lru: what was used longest ago."""
    commit_items: Count = 64
    """Writes that share one synced commit."""
    commit_wait_s: Annotated[float, Field(ge=0, le=1)] = 0.005
    """The longest that a write waits for company."""
    max_queue: Count = 20_000
    """Writes waiting; beyond it a Store is refused with OVERLOADED."""
    sweep_interval_s: Seconds = 30.0
    """How often expired entries are deleted (they stop being served at once)."""
    served_ttl_s: Seconds = 7 * 86_400.0
    """How long a hit can still get a verdict."""
    log_ttl_s: Seconds = 30 * 86_400.0
    """How long the per-request log is kept; its hourly rollup stays."""
    exact_cache_bytes: Bytes = 256 * 1024**2
    """Decoded entries of the exact tier in memory."""


class Budget(Section):
    """What may be spent upstream in a day or a month. Hits spend nothing and are served whatever it says."""

    name: Name
    """For metrics, logs and the caller whom it refuses."""
    limit_usd: Annotated[Decimal, Field(gt=0, le=1_000_000_000, max_digits=18, decimal_places=9)]
    period: Literal["day", "month"] = "month"
    """A calendar day or month in `costs.time_zone`."""
    tenant: Literal["*"] | Name | None = None
    """Whose spending counts; `*`: each tenant's by itself; None: all tenants' together."""
    model: Literal["*"] | Name | None = None
    """The model whose spending counts, as the upstream names it; what stands before a `/`, a snapshot's date and
    `-latest` are left out. `*`: each model's by itself; None: all models' together."""
    warn_at: Annotated[float, Field(gt=0, le=1)] = 0.8
    """The share of the limit from which it is logged and counted, once a period."""
    degrade_at: Annotated[float, Field(gt=0, le=1)] | None = None
    """The share from which calls go to the route's degraded models; None: never."""
    on_limit: Literal["refuse", "warn"] = "refuse"
    """refuse: a call whose estimated cost doesn't fit is refused with BUDGET_EXCEEDED and told when the period ends."""
    unpriced: Literal["allow", "refuse"] = "allow"
    """What to do with calls of models without a known price: no budget can hold them."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.degrade_at is not None and self.degrade_at < self.warn_at:
            raise ValueError(f"budget {self.name}: degrade_at is below warn_at")
        return self


class OverheadSettings(Section):
    """What saving itself costs, for the net savings. 0 leaves it out."""

    embedding_usd_per_million: Annotated[Decimal, Field(ge=0, le=1_000_000_000, max_digits=18, decimal_places=9)] = (
        Decimal(0)
    )
    """Dollars for a million embedded prompts: the machine's dollars an hour by the prompts that it embeds in one."""
    wrong_answer_usd: Annotated[Decimal, Field(ge=0, le=1_000_000_000, max_digits=18, decimal_places=9)] = Decimal(0)
    """What a wrong answer costs whoever gets it, booked for each hit that is reported as wrong."""


Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000_000, max_digits=18, decimal_places=9)]


class ProviderCharge(Section):
    """What a provider charges a month whatever is asked of it."""

    provider: Name
    usd_per_month: Dollars


class CostModelSettings(Section):
    """What a month costs beside the tokens, for `semcache cost budget`. 0 leaves a part out."""

    storage_usd_per_gb_month: Dollars = Decimal(0)
    """Dollars for a gigabyte (10⁹ bytes) of the store's file for a month."""
    operations_usd_per_month: Dollars = Decimal(0)
    """Machines and people that keep semcache running."""
    monitoring_usd_per_month: Dollars = Decimal(0)
    """Metrics, logs and alerts."""
    provider_charges: tuple[ProviderCharge, ...] = ()
    """Fixed charges of providers: seats, minimum fees, provisioned throughput."""
    growth_limit: Annotated[float, Field(ge=0, le=100)] = 0.05
    """How far spending may grow from month to month, as a share, before the report says so."""

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        names = [charge.provider for charge in self.provider_charges]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"provider_charges names {', '.join(twice)} twice")
        return self


class CostSettings(Section):
    """Prices, budgets, and what saving costs."""

    price_file: Path | None = None
    """TOML that overrides the bundled prices: `[[price]] model = "…", input = 18.75, output = 75.0` in dollars per
    million tokens; `cached_input`, `cache_write`, `per_call`, `tiers` and `from` are optional (docs/costs.md)."""
    time_zone: Annotated[str, AfterValidator(_whole_hours)] = "UTC"
    """Where days and months begin, as an IANA name. Its offset must be whole hours: the ledger adds up by the hour."""
    assumed_output_tokens: Count = 1024
    """What a call without a limit of its own is taken to produce when a budget reserves its cost: more than most
    answers have, so that many calls at once don't overrun."""
    budgets: tuple[Budget, ...] = ()
    overhead: OverheadSettings = OverheadSettings()
    model: CostModelSettings = CostModelSettings()

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.price_file is not None and not os.access(self.price_file, os.R_OK):
            problems.append(f"price_file: {self.price_file} can't be read")
        names = [budget.name for budget in self.budgets]
        problems += [f"budget {name} is named twice" for name in sorted({n for n in names if names.count(n) > 1})]
        if problems:
            raise ValueError("; ".join(problems))
        return self


class MetricsSettings(Section):
    """`/metrics` over HTTP, on a port of its own."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9464
    models: tuple[str, ...] = ()
    """Models that get a label of their own; the rest is `other`. Empty: the routes' aliases and models."""
    task_types: tuple[str, ...] = ("chat", "code", "reasoning", "search", "support")
    ratio_window_s: Seconds = 3600.0
    """The window of the derived gauges."""


class LogSettings(Section):
    """Structured logs on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """auto: console on a terminal, JSON elsewhere."""


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="SEMCACHE_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    keys: KeySettings = KeySettings()
    cacheability: CacheabilitySettings = CacheabilitySettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    index: IndexSettings = IndexSettings()
    decision: DecisionSettings = DecisionSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    tasks: TaskSettings = TaskSettings()
    store: StoreSettings = StoreSettings()
    costs: CostSettings = CostSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before the file; nothing else is read."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @model_validator(mode="after")
    def _safe(self) -> Self:
        problems = []
        if not self.auth.enabled and not _is_loopback(self.server.host):
            problems.append(
                f"server.host {self.server.host!r} is not loopback while auth.enabled is false: "
                "turn auth on, or bind 127.0.0.1"
            )
        if self.auth.enabled and not self.auth.keys and not self.auth.certificates:
            problems.append("auth.enabled needs at least one of auth.keys and auth.certificates")
        if self.auth.certificates and self.server.tls.client_ca_file is None:
            problems.append("auth.certificates needs server.tls.client_ca_file")
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings from a TOML file (or the defaults), the environment first.

    Args:
        path: the TOML file; None for none.
        overrides: a nested mapping that beats the file, for a command's own flags.

    Raises:
        SettingsError: all problems at once.
    """
    values: dict[str, Any] = {}
    source = str(path) if path else "the environment"
    if path is not None:
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise SettingsError([f"{path} can't be read: {error.strerror}"]) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError([f"not TOML: {error}"], source=source) from error
    for section, fields in (overrides or {}).items():
        values[section] = {**values.get(section, {}), **fields} if isinstance(fields, Mapping) else fields
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError([_problem(item) for item in error.errors()], source=source) from error


def _problem(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    message = "unknown key" if item["type"] == "extra_forbidden" else str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
