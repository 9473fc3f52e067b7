"""Which target answers for a model alias, and under which model name."""

from __future__ import annotations

from dataclasses import dataclass

from semcache.errors import UnknownModelError
from semcache.settings import UpstreamSettings

_ANY = "*"


@dataclass(frozen=True, slots=True)
class Destination:
    """A target by name, and the model that it is asked for."""

    target: str
    model: str


class RouteTable:
    """The routes of the settings: the alias's own first, then `*`, then the only target there is."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self._routes = {route.alias: route for route in settings.routes}
        targets = settings.targets
        self._only_target = targets[0].name if len(targets) == 1 and not settings.routes else ""
        self._without_targets = not targets

    def find(self, alias: str) -> Destination | None:
        """Where `alias` leads; None when nowhere."""
        route = self._routes.get(alias) or self._routes.get(_ANY)
        if route is not None:
            return Destination(route.target, route.model or alias)
        return Destination(self._only_target, alias) if self._only_target else None

    def resolve(self, alias: str) -> Destination:
        """Where `alias` leads.

        Raises:
            UnknownModelError: nowhere; names the aliases that are known.
        """
        destination = self.find(alias)
        if destination is not None:
            return destination
        if self._without_targets:
            raise UnknownModelError(
                f"No upstream is configured, so the model {alias[:80]!r} can't be asked.",
                hint="Add [[upstream.targets]], or generate the answer yourself and Store it.",
            )
        known = ", ".join(sorted(self._routes))
        raise UnknownModelError(
            f"No route serves the model {alias[:80]!r}.",
            hint=f"Known aliases: {known}." if known else "Add [[upstream.routes]]: there are several targets.",
        )
