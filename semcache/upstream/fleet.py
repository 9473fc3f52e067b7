"""The health of all targets, and of the models that each of them runs, as calls find it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from semcache.errors import UpstreamError
from semcache.settings import BreakerSettings
from semcache.upstream.breaker import Began, Breaker, BreakerState
from semcache.upstream.retries import Blame, blame
from semcache.upstream.routes import Destination

_UNWILLING = 1024
"""Models that targets wouldn't serve, remembered; callers may make names up, so they must be bounded."""
_BEFORE_ALL = Began(0, 0)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A try that has begun."""

    place: Destination
    target: Began
    model: Began | None


class Fleet:
    """A breaker per target, which keeps it from being asked; and one per model that a target wouldn't serve.

    The latter is but a preference: where nobody else can answer, the target is asked all the same, for its refusal
    says more than any error of semcache's. Without it a model that is missing at one of three targets would cost every
    third call another try. Times are monotonic seconds.

    Args:
        targets: their names.
        settings: the breakers'.
        on_change: told of each change of a target's breaker: the target, the state before, and the new one.
    """

    def __init__(
        self,
        targets: Iterable[str],
        settings: BreakerSettings,
        on_change: Callable[[str, BreakerState, BreakerState], None] | None = None,
    ) -> None:
        self._settings = settings

        def breaker(target: str) -> Breaker:
            if on_change is None:
                return Breaker(settings)
            return Breaker(settings, lambda before, state: on_change(target, before, state))

        self.breakers = {target: breaker(target) for target in targets}
        self._models: dict[tuple[str, str], Breaker] = {}
        self._last_failures: dict[str, str] = {}

    def admits(self, place: Destination, now_s: float) -> bool:
        """Whether the target may be asked."""
        return self.breakers[place.target].admits(now_s)

    def is_willing(self, place: Destination, now_s: float) -> bool:
        """Whether the target is likely to serve this model."""
        model = self._models.get((place.target, place.model))
        return model is None or model.admits(now_s)

    def is_proven(self, place: Destination, now_s: float) -> bool:
        """Whether the target hasn't failed of late, nor refused the model since it last served it."""
        return self.breakers[place.target].is_proven(now_s) and (place.target, place.model) not in self._models

    def is_avoided(self, place: Destination, now_s: float) -> bool:
        """Whether others are to be preferred, since the target asked to be left alone."""
        return self.breakers[place.target].is_avoided(now_s)

    def rest_s(self, place: Destination, now_s: float) -> float:
        """Seconds for which the target asked to be left alone."""
        return self.breakers[place.target].rest_s(now_s)

    def due_in_s(self, place: Destination, now_s: float) -> float:
        """Seconds until the target is tried again."""
        return self.breakers[place.target].due_in_s(now_s)

    def last_failure(self, place: Destination) -> str:
        """How the target failed last, in a sentence; empty when it never did."""
        return self._last_failures.get(place.target, "")

    def begin(self, place: Destination, now_s: float) -> Ticket:
        """A try begins, which `admits` allowed; `succeeded`, `failed` or `left` ends it."""
        model = self._models.get((place.target, place.model))
        # Who is asked against all likelihood is no probe.
        asked = model.begin() if model is not None and model.admits(now_s) else None
        return Ticket(place, self.breakers[place.target].begin(), asked)

    def lives(self, ticket: Ticket) -> None:
        """The target has begun to answer; the try goes on."""
        self.breakers[ticket.place.target].lives(ticket.target)
        self._forget(ticket.place)

    def succeeded(self, ticket: Ticket, now_s: float) -> None:
        """The try brought an answer."""
        self.breakers[ticket.place.target].succeeded(ticket.target, now_s)
        self._forget(ticket.place)

    def failed(self, ticket: Ticket, error: UpstreamError, now_s: float) -> None:
        """The try failed; whose fault it was says for whom it counts."""
        target = self.breakers[ticket.place.target]
        whose = blame(error)
        if whose is Blame.TARGET:
            self._last_failures[ticket.place.target] = error.message
            target.failed(ticket.target, now_s, error.retry_after_s)
        elif whose is Blame.BUSY:
            target.busy(ticket.target, now_s, error.retry_after_s or 0.0)
        else:
            target.succeeded(ticket.target, now_s)
        if whose is Blame.MODEL:
            self._model(ticket.place).failed(ticket.model or _BEFORE_ALL, now_s)
        else:
            self._leave_model(ticket)

    def left(self, ticket: Ticket) -> None:
        """The try was given up."""
        self.breakers[ticket.place.target].left(ticket.target)
        self._leave_model(ticket)

    def _forget(self, place: Destination) -> None:
        """A model that is served needs no books."""
        self._models.pop((place.target, place.model), None)

    def _model(self, place: Destination) -> Breaker:
        key = (place.target, place.model)
        if key not in self._models:
            if len(self._models) >= _UNWILLING:
                self._models.clear()
            self._models[key] = Breaker(self._settings)
        return self._models[key]

    def _leave_model(self, ticket: Ticket) -> None:
        model = self._models.get((ticket.place.target, ticket.place.model))
        if model is not None and ticket.model is not None:
            model.left(ticket.model)
