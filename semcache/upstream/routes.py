"""Finds which targets may answer a call, in which order, and under which model names."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from semcache.errors import OverLimitError, UnknownModelError
from semcache.model import ApiProtocol
from semcache.settings import Route, UpstreamSettings

_ANY = "*"
_MAX_REMEMBERED = 4096
"""Plans, and sets of models, remembered. `*` takes any alias that callers make up, so the number is bounded."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A target and the model that it is asked for.

    Attributes:
        target: the target's name.
        model: the model's name there.
        weight: the share of its group's calls, beside the other weights.
        degraded: whether its answers are worse than what was asked for.
    """

    target: str
    model: str
    weight: float = 1.0
    degraded: bool = False


RoutePlan = tuple[tuple[Destination, ...], ...]
"""Groups of destinations: a later group is asked when no earlier one can answer. Each target and model come once."""


class RouteTable:
    """The routes of the settings: first the alias's own, then `*`; without routes, the only target.

    Of several routes of one alias, the most specific is taken: first that of the task type and complexity, then that of
    the task type, then that of the complexity, then that of any call.
    """

    def __init__(self, settings: UpstreamSettings) -> None:
        self._routes = {(route.alias, route.task_type, route.complexity): route for route in settings.routes}
        self._task_types = {"", *(route.task_type for route in settings.routes)}
        self._complexities = {"", *(route.complexity for route in settings.routes)}
        targets = settings.targets
        self._only_target = targets[0].name if len(targets) == 1 and not settings.routes else ""
        self._without_targets = not targets
        self._protocols = {target.name: frozenset(target.protocols) for target in targets}
        self._plans: dict[tuple[str, str, str, bool], RoutePlan] = {}
        self._models: dict[str, frozenset[str] | None] = {}

    def plan(self, alias: str, task_type: str = "", complexity: str = "", *, degraded: bool = False) -> RoutePlan:
        """Return the destinations that may answer; empty for none.

        With `degraded`, the route's degraded alias comes before the route itself.
        """
        key = (alias, task_type, complexity, degraded)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _MAX_REMEMBERED:
                self._plans.clear()
            plan = self._plans[key] = self._make(alias, task_type, complexity, degraded=degraded)
        return plan

    def resolve(self, alias: str, task_type: str = "", complexity: str = "", *, degraded: bool = False) -> RoutePlan:
        """Return the plan, which has one destination or more.

        Raises:
            UnknownModelError: no destination may answer; the error names the known aliases.
        """
        plan = self.plan(alias, task_type, complexity, degraded=degraded)
        if not plan:
            raise self._unknown(alias, task_type, complexity)
        return plan

    def speaking(self, plan: RoutePlan, alias: str, protocol: ApiProtocol) -> RoutePlan:
        """Return the plan without targets that don't speak a protocol.

        Raises:
            UnknownModelError: PROTOCOL_NOT_ROUTED: none of its targets speaks it.
        """
        spoken = tuple(tuple(place for place in group if protocol in self._protocols[place.target]) for group in plan)
        if not any(spoken):
            raise UnknownModelError(
                f"No target of the model {alias[:80]!r} speaks {protocol.value}.",
                reason="PROTOCOL_NOT_ROUTED",
                hint=f'Name "{protocol.value}" in the protocols of one of its targets.',
            )
        return spoken

    def models(self, alias: str) -> frozenset[str] | None:
        """Return the models that may answer for an alias at any task type and complexity, without degraded ones.

        None when no route leads to a target.
        """
        if alias not in self._models:
            if len(self._models) >= _MAX_REMEMBERED:
                self._models.clear()
            plans = [
                self.plan(alias, task_type, complexity)
                for task_type in self._task_types
                for complexity in self._complexities
            ]
            models = frozenset(place.model for plan in plans for group in plan for place in group if not place.degraded)
            self._models[alias] = models if any(plans) else None
        return self._models[alias]

    def targets_of(self, model: str) -> frozenset[str]:
        """Return the targets that some route asks for a model."""
        if self._only_target:
            return frozenset({self._only_target})
        return frozenset(
            place.target
            for route in self._routes.values()
            for place in route.destinations
            if place.model == model or (not place.model and route.alias in {model, _ANY})
        )

    def _find(self, alias: str, task_type: str, complexity: str) -> Route | None:
        routes = self._routes
        for name in (alias, _ANY):
            route = (
                routes.get((name, task_type, complexity))
                or routes.get((name, task_type, ""))
                or routes.get((name, "", complexity))
                or routes.get((name, "", ""))
            )
            if route is not None:
                return route
        return None

    def _make(self, alias: str, task_type: str, complexity: str, *, degraded: bool) -> RoutePlan:
        if self._only_target:
            return ((Destination(self._only_target, alias),),)
        groups: list[tuple[Destination, ...]] = []
        visited: set[str] = set()
        taken: set[tuple[str, str]] = set()

        def visit(name: str, *, flagged: bool) -> None:
            route = self._find(name, task_type, complexity)
            if route is None or name in visited:
                return
            visited.add(name)
            group = []
            for place in route.destinations:
                model = place.model or name
                if (place.target, model) not in taken:
                    taken.add((place.target, model))
                    group.append(Destination(place.target, model, place.weight, flagged))
            if group:
                groups.append(tuple(group))
            for fallback in route.fallbacks:
                visit(fallback.alias, flagged=flagged or fallback.degraded)

        route = self._find(alias, task_type, complexity)
        if degraded and route is not None and route.degraded:
            # Marked as visited: a fallback of the mini model to this alias must not flag its answers as degraded.
            visited.add(alias)
            visit(route.degraded, flagged=True)
            visited.remove(alias)
        visit(alias, flagged=False)
        return tuple(groups)

    def _unknown(self, alias: str, task_type: str, complexity: str) -> UnknownModelError:
        if self._without_targets:
            return UnknownModelError(
                f"No upstream is configured, so the model {alias[:80]!r} can't be asked.",
                hint="Add [[upstream.targets]], or generate the answer yourself and Store it.",
            )
        aliases = {name for name, _, _ in self._routes}
        if alias in aliases:
            return UnknownModelError(
                f"No route serves the model {alias[:80]!r} for task type {task_type[:80]!r} "
                f"and complexity {complexity[:80]!r}.",
                hint="Add a route for the alias alone.",
            )
        known = ", ".join(sorted(aliases))
        return UnknownModelError(
            f"No route serves the model {alias[:80]!r}.",
            hint=f"Known aliases: {known}." if known else "Add [[upstream.routes]]: there are several targets.",
        )


def models_of(plan: RoutePlan) -> tuple[str, ...]:
    """Return the models of a plan: by group, the greater weight first."""
    ordered = (place for group in plan for place in sorted(group, key=lambda place: -place.weight))
    return tuple(dict.fromkeys(place.model for place in ordered))


def without(plan: RoutePlan, barred: AbstractSet[str]) -> RoutePlan:
    """Return the plan without the barred models.

    Raises:
        OverLimitError: every model is barred.
    """
    if not barred:
        return plan
    allowed = tuple(tuple(place for place in group if place.model not in barred) for group in plan)
    if not any(allowed):
        raise OverLimitError(
            "A budget bars every model that could answer this request.",
            reason="MODELS_BARRED",
            hint="Wait for the budget's next period, raise it, or ask for a cheaper model.",
        )
    return allowed
