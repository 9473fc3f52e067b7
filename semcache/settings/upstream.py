"""Settings of the upstream: targets, routes, retries, breakers, the degraded mode, and the checks of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    model_validator,
)

from semcache.model import ApiProtocol
from semcache.settings.section import Count, Name, Seconds, Section

_UsdPerMillion = Annotated[Decimal, Field(ge=0, le=1_000_000, max_digits=18, decimal_places=9)]


class TargetPrice(Section):
    """What a target charges, in dollars for a million tokens."""

    input: _UsdPerMillion
    output: _UsdPerMillion
    cached_input: _UsdPerMillion | None = None
    """Of input that was read from the provider's prompt cache; None: the price of other input."""
    cache_write: _UsdPerMillion | None = None
    """Of input that was written to that cache; None: the price of other input."""
    per_call: _UsdPerMillion = Decimal(0)
    """Dollars for a call, beside its tokens."""


class Target(Section):
    """One server of an OpenAI-compatible API, or of Anthropic's."""

    name: Name
    base_url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    """The URL up to and including `/v1`; the protocol's path, such as `/chat/completions`, is appended to its path, and
    a query (`?api-version=…`) stays behind it."""
    protocols: Annotated[tuple[ApiProtocol, ...], Field(min_length=1)] = tuple(ApiProtocol)
    """What it speaks: `chat`, `messages`, `responses`, `embeddings`. It isn't asked for anything else."""
    free: bool = False
    """True: its answers cost nothing, as those of an own server do."""
    price: TargetPrice | None = None
    """What its answers cost, whatever the model: `{ input = 0.20, output = 0.60 }`."""
    provider: str = ""
    """Whose prices its answers have: a provider's id in genai-prices (`openai`), or `any` for a router that charges
    what the provider of each model charges. Empty: the provider whose API the host of `base_url` is; the models of any
    other host have no known price."""
    api_key_env: str = ""
    """The environment variable that holds the key."""
    api_key_file: Path | None = None
    """The file that holds the key, in place of `api_key_env`."""
    key_header: Annotated[str, Field(pattern=r"^[a-z0-9-]*$")] = ""
    """The header that carries the key, such as `api-key`. Empty: that of the protocol, which is `authorization` and for
    Anthropic's messages `x-api-key`. `authorization` has the key as a bearer's."""
    requires_key: bool = False
    """True: semcache refuses to start without a key, for a target that answers nobody without one."""
    headers: Mapping[str, str] = {}
    """Headers that are sent with each request."""
    connect_timeout_s: Seconds = 5.0
    timeout_s: Seconds = 120.0
    """The time for a whole answer, or for the first chunk of a stream. It is less where other targets could still
    answer: each gets an equal share of the rest of `deadline_s`."""
    stall_timeout_s: Seconds = 60.0
    """The time between two chunks of a stream."""
    max_connections: Count = 256
    stream_usage: bool = True
    """Ask for the usage of streamed calls by `stream_options`, unless the caller sets `include_usage` itself. A target
    that refuses the field is asked again without it, and not asked for it in the next hour. False: never ask. The usage
    of such streams is estimated."""


class WeightedTarget(Section):
    """One of the targets of a route."""

    target: Name
    model: str = ""
    """The model that the target is asked for; empty: the alias itself."""
    weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Its share of the calls, beside the other weights of the route. 0: asked only when no target with a weight
    answers."""


class Fallback(Section):
    """An alias that answers when a route can't."""

    alias: Name
    degraded: bool = False
    """True: its answers are worse. Responses say so, and the cache doesn't serve them to other requests."""


def _fallback(value: object) -> object:
    return {"alias": value} if isinstance(value, str) else value


class Route(Section):
    """The targets of an alias, for all calls or for those of one task type or complexity.

    Of several routes that match a call, the most specific one is taken.
    """

    alias: Name | Literal["*"]
    """The model that callers ask for; `*` takes every alias that no other route names."""
    task_type: str = ""
    """Only calls of this task type; empty: of any. A match here is more specific than one of the complexity."""
    complexity: str = ""
    """Only calls of this complexity, as `tasks.complexity` names it; empty: of any."""
    target: str = ""
    """The target: the short form for a single one."""
    model: str = ""
    """The model that this target is asked for; empty: the alias itself."""
    targets: tuple[WeightedTarget, ...] = ()
    """Several targets, in place of `target`: `[{target = "openai", model = "gpt-5", weight = 3}, {target = "azure",
    model = "gpt-5"}]`."""
    fallbacks: tuple[Annotated[Fallback, BeforeValidator(_fallback)], ...] = ()
    """Aliases that are asked in order when no target of the route can answer: `["other", {alias = "mini", degraded =
    true}]`. Their own fallbacks follow them."""
    degraded: str = ""
    """The alias that answers instead for degraded calls; its answers are flagged. Empty: there is none."""

    @property
    def destinations(self) -> tuple[WeightedTarget, ...]:
        """The targets of the route, from either form."""
        return (WeightedTarget(target=self.target, model=self.model),) if self.target else self.targets

    def takes_calls_of(self, other: Route) -> bool:
        """Whether this route also takes every call that the other route takes."""
        return self.task_type in {"", other.task_type} and self.complexity in {"", other.complexity}

    @property
    def title(self) -> str:
        """The route's name in a message."""
        narrower = (("task type", self.task_type), ("complexity", self.complexity))
        return f"route {self.alias!r}" + "".join(f", {name} {value!r}" for name, value in narrower if value)


class RetrySettings(Section):
    """Tries beyond the first.

    The same target is asked again after 429, 502, 503, 504, 529 (an overload, at Anthropic) and connection errors only.
    Another target is asked after every error that isn't the request's own fault.
    """

    max_retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Repeated tries of one call at targets that failed it already."""
    backoff_s: Seconds = 0.25
    """The wait before the first repeated try; it doubles each time, with full jitter."""
    max_backoff_s: Seconds = 8.0
    """The longest wait. A target that asks for a longer one (Retry-After) isn't asked again."""
    budget_ratio: Annotated[float, Field(ge=0, le=10)] = 0.2
    """Tries beyond the first that all calls together may make, as a share of the calls: failures must not multiply the
    load."""
    budget_floor: Annotated[int, Field(ge=0)] = 10
    """Tries beyond the first that are allowed in a window of few calls: twice what it takes to open a breaker."""
    budget_window_s: Seconds = 60.0
    """The window of `budget_ratio` and `budget_floor`."""


class BreakerSettings(Section):
    """When a target that fails is no longer asked, and for how long."""

    failures: Count = 5
    """Failures in a row that open the breaker. Where 10 % of calls fail by chance, five in a row happen once in
    100,000."""
    failure_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The share of failed calls in the window that opens it too: a target that fails half of them costs more than it
    gives."""
    window_s: Seconds = 30.0
    min_samples: Count = 20
    """Calls in the window below which the share shows nothing."""
    open_s: Seconds = 5.0
    """How long the target isn't asked: the time of a restart. It doubles each time that the target still fails then."""
    max_open_s: Seconds = 120.0
    """The longest time without asking, so that a target that works again is found within two minutes. A longer
    Retry-After is cut to it."""
    probes: Count = 3
    """Calls at once that may try whether the target works again: a single one could take minutes to answer."""


class DegradedSettings(Section):
    """The degraded mode: the server saves dollars or time at the price of quality.

    A condition that is unset isn't checked.
    """

    enabled: bool = False
    on_budget: bool = True
    """The mode is on while a budget is used up."""
    error_rate_enter: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The mode begins above this share of failed upstream calls, such as 0.2."""
    error_rate_leave: Annotated[float, Field(ge=0, lt=1)] | None = None
    """It ends at or below this share, which must be lower: otherwise the mode would begin and end all the time."""
    p95_enter_s: Seconds | None = None
    """The mode begins above this 95th percentile of the time of upstream calls that succeed."""
    p95_leave_s: Seconds | None = None
    """It ends at or below this percentile, which must be lower."""
    window_s: Seconds = 60.0
    """The window in which both are measured."""
    min_samples: Count = 20
    """Calls in the window below which they show nothing."""
    hold_s: Seconds = 60.0
    """How long no condition may hold before the mode ends."""
    measures: tuple[Literal["mini_model", "optional_off", "smaller_batches"], ...] = ("mini_model", "optional_off")
    """What the mode does. mini_model: each route's `degraded` alias answers. optional_off: the verifier isn't asked,
    so that critical answers aren't stored, and neither is the judge. smaller_batches: embedding batches stay small."""


class UpstreamSettings(Section):
    """The upstream: where answers come from that the cache doesn't have."""

    targets: tuple[Target, ...] = ()
    routes: tuple[Route, ...] = ()
    """The routes. Without routes and with one target, every alias is sent there unchanged."""
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    degraded: DegradedSettings = DegradedSettings()
    deadline_s: Seconds = 300.0
    """How long an upstream call may run, even when its callers have disconnected; all its tries share this time."""
    route_policy_version: str = "1"
    """A part of every exact key. Change it when answers under the former routes should no longer be served."""

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

    def leads_anywhere(self, alias: str) -> bool:
        """Whether a call for this alias has a target when it has no task type and no complexity."""
        if not self.routes:
            return len(self.targets) == 1
        return any(route.alias in {alias, "*"} and not route.task_type + route.complexity for route in self.routes)

    def speaks(self, alias: str, protocol: ApiProtocol) -> bool:
        """Whether a target that a call for this alias may be sent to, without fallbacks, speaks a protocol."""
        names = {
            place.target for route in self.routes if route.alias in {alias, "*"} for place in route.destinations
        } or {target.name for target in self.targets if not self.routes}
        return any(protocol in target.protocols for target in self.targets if target.name in names)


def _repeated(values: Iterable[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


def _target_problems(targets: Sequence[Target]) -> Iterator[str]:
    for name in _repeated(target.name for target in targets):
        yield f"target {name!r} is named twice"
    for target in targets:
        if target.free + (target.price is not None) + bool(target.provider) > 1:
            yield f"target {target.name!r} may have one of free, price and provider"
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
    # `*` doesn't make an alias known here: it would hide a misspelt name.
    known = {route.alias for route in routes}
    for route in routes:
        others = [("falls back", fallback.alias) for fallback in route.fallbacks]
        others += [("degrades", route.degraded)] if route.degraded else []
        for how, alias in others:
            if alias not in known:
                yield f"{route.title} {how} to alias {alias!r}, which no route names"
            elif not any(other.alias == alias and other.takes_calls_of(route) for other in routes):
                yield f"{route.title} {how} to alias {alias!r}, whose routes are for other calls only"
        if route.degraded == route.alias:
            yield f"{route.title} degrades to itself"
    leads_to: dict[str, list[str]] = {}
    for route in routes:
        leads_to.setdefault(route.alias, []).extend(fallback.alias for fallback in route.fallbacks)
    for cycle in _cycles(leads_to):
        yield f"fallbacks go round in a circle: {' → '.join([*cycle, cycle[0]])}"


def _cycles(leads_to: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the cycles that a search from each name meets; each name is visited once."""
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
