"""The health of all targets, and of the models that each of them runs, learned from their calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from semcache.errors import UpstreamError
from semcache.settings import BreakerSettings
from semcache.upstream.breaker import Beginning, Breaker, BreakerState
from semcache.upstream.retries import Blame, blame
from semcache.upstream.routes import Destination

_MAX_UNWILLING = 1024
"""Models remembered that targets refused to serve. Callers may make up names, so the number is bounded."""
_BEFORE_ALL = Beginning(0, 0)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A try that has begun, which its end is reported with. `model` is None where the model has no breaker."""

    place: Destination
    target: Beginning
    model: Beginning | None


class Fleet:
    """One breaker per target, which keeps it from being asked, and one per model that a target refused to serve.

    The breaker of a model is only a preference. Where no other target can answer, the target is asked all the same: its
    refusal says more than an error of semcache's own. Without these breakers, a model that is missing at one of three
    targets would cost every third call another try. Times are monotonic seconds.

    Args:
        targets: the names of the targets.
        settings: the limits of the breakers.
        on_change: called at each change of a target's breaker with the target, the state before, and the new one.
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
        """Whether the target has not failed lately, and has not refused the model since it last served it."""
        return self.breakers[place.target].is_proven(now_s) and (place.target, place.model) not in self._models

    def is_avoided(self, place: Destination, now_s: float) -> bool:
        """Whether a call should prefer other targets, because this one asked for a rest."""
        return self.breakers[place.target].is_avoided(now_s)

    def rest_s(self, place: Destination, now_s: float) -> float:
        """Return the seconds of rest that the target asked for and that remain; 0 for none."""
        return self.breakers[place.target].rest_s(now_s)

    def due_in_s(self, place: Destination, now_s: float) -> float:
        """Return the seconds until the target may be tried again."""
        return self.breakers[place.target].due_in_s(now_s)

    def last_failure(self, place: Destination) -> str:
        """Return how the target failed last, as a sentence; empty when it never failed."""
        return self._last_failures.get(place.target, "")

    def begin(self, place: Destination, now_s: float) -> Ticket:
        """Begin a try that `admits` allowed; `succeeded`, `failed` or `abandoned` ends it."""
        model = self._models.get((place.target, place.model))
        # A try that the model's breaker doesn't admit is made for want of another target. It is no probe of the model.
        probe = model.begin() if model is not None and model.admits(now_s) else None
        return Ticket(place, self.breakers[place.target].begin(), probe)

    def lives(self, ticket: Ticket) -> None:
        """Report that the target has begun to answer; the try goes on."""
        self.breakers[ticket.place.target].lives(ticket.target)
        self._forget(ticket.place)

    def succeeded(self, ticket: Ticket, now_s: float) -> None:
        """Report that the try brought an answer."""
        self.breakers[ticket.place.target].succeeded(ticket.target, now_s)
        self._forget(ticket.place)

    def failed(self, ticket: Ticket, error: UpstreamError, now_s: float) -> None:
        """Report that the try failed. `retries.blame` says which breaker counts it."""
        target = self.breakers[ticket.place.target]
        fault = blame(error)
        if fault is Blame.TARGET:
            self._last_failures[ticket.place.target] = error.message
            target.failed(ticket.target, now_s, error.retry_after_s)
        elif fault is Blame.BUSY:
            target.busy(ticket.target, now_s, error.retry_after_s or 0.0)
        else:
            target.succeeded(ticket.target, now_s)
        if fault is Blame.MODEL:
            self._model(ticket.place).failed(ticket.model or _BEFORE_ALL, now_s)
        else:
            self._abandon_model(ticket)

    def abandoned(self, ticket: Ticket) -> None:
        """Report that the try was given up."""
        self.breakers[ticket.place.target].abandoned(ticket.target)
        self._abandon_model(ticket)

    def _forget(self, place: Destination) -> None:
        """Drop the breaker of a model that is served."""
        self._models.pop((place.target, place.model), None)

    def _model(self, place: Destination) -> Breaker:
        key = (place.target, place.model)
        if key not in self._models:
            if len(self._models) >= _MAX_UNWILLING:
                self._models.clear()
            self._models[key] = Breaker(self._settings)
        return self._models[key]

    def _abandon_model(self, ticket: Ticket) -> None:
        model = self._models.get((ticket.place.target, ticket.place.model))
        if model is not None and ticket.model is not None:
            model.abandoned(ticket.model)
