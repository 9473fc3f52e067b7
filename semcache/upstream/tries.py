"""Decides one call's way over the targets: which is asked next, after which wait, and for how long at most.

Two promises hold together: no request fails that a target could have answered, and tries stay below 1.2 × calls.

- A target that fails costs the few calls that open its breaker, and later its probes, one more try each.
- Passing over an open breaker costs no try, so that first tries go to targets that work.
- A call that asks a target that failed lately reserves an extra try of the budget, or asks another target.

When a healthy target stops while many calls are in flight at it, both promises can't hold. Then the budget counts, and
calls beyond it fail: their tries together would overload the other targets.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from semcache.errors import UpstreamError
from semcache.settings import RetrySettings
from semcache.upstream.fleet import Fleet, Ticket
from semcache.upstream.retries import UNAVAILABLE, Blame, blame, is_outage, retry_delay_s
from semcache.upstream.retry_budget import RetryBudget
from semcache.upstream.routes import Destination, RoutePlan


@dataclass(frozen=True, slots=True)
class Step:
    """The destination to ask, and the seconds to wait before."""

    destination: Destination
    wait_s: float = 0.0


class Tries:
    """Decides the tries of one call and records how they end; it waits for nothing. Times are monotonic seconds.

    For each try: `next`, after its wait `begin`, and one of `succeeded`, `failed` and `abandoned`.

    Args:
        plan: the destinations that may answer.
        deadline_s: the end of the call, which all its tries share.
        fleet: the health of all targets.
        budget: the extra tries of all calls.
        settings: how a failed try is repeated.
        rng: draws destinations by their weight, and the jitter.
        optional: whether nobody fails with the call. Then a target that failed it isn't asked again, and its failure
            doesn't count against the target, which may answer requests as well.
    """

    def __init__(
        self,
        plan: RoutePlan,
        deadline_s: float,
        *,
        fleet: Fleet,
        budget: RetryBudget,
        settings: RetrySettings,
        rng: random.Random,
        optional: bool = False,
    ) -> None:
        self._optional = optional
        self._plan = plan
        self._deadline_s = deadline_s
        self._fleet = fleet
        self._budget = budget
        self._settings = settings
        self._rng = rng
        self._errors: dict[Destination, UpstreamError] = {}
        self._repeats = 0
        self._charged = False
        self._ticket: Ticket | None = None
        self._reserved = False
        self._limit_s = 0.0
        self.made = 0
        """How many tries have begun."""

    @property
    def last(self) -> Destination | None:
        """The destination that was asked last; None before the first try."""
        return None if self._ticket is None else self._ticket.place

    def next(self, now_s: float) -> Step:
        """Return the next try.

        Raises:
            UpstreamError: there is none. The error is that of the last try, or UPSTREAM_UNAVAILABLE before the first.
        """
        if not self.made:
            step = self._untried(now_s)
            if step is None:
                raise self._unavailable(now_s)
            if not self._charged:
                self._budget.called(now_s)
                self._charged = True
            return step
        error = self._errors[self._current().place]
        error.reached = not all(map(is_outage, self._errors.values()))
        if blame(error) is Blame.REQUEST or now_s >= self._deadline_s:
            raise error
        step = self._untried(now_s) or (None if self._optional else self._repeated(now_s))
        # A target that was waited for and no longer admits the call got no try: the extra try it took is still held.
        if step is None or not (self._charged or self._budget.take(now_s)):
            raise error
        self._charged = True
        return step

    def admits(self, place: Destination, now_s: float) -> bool:
        """Whether a target may still be asked, after a wait."""
        return self._fleet.admits(place, now_s)

    def begin(self, place: Destination, now_s: float) -> float:
        """Begin a try; returns the seconds it may take: the remaining time, shared with the targets not yet tried."""
        self.made += 1
        self._charged = False
        self._repeats += place in self._errors
        self._reserved = not self._fleet.is_proven(place, now_s)
        if self._reserved:
            self._budget.reserve()
        self._ticket = self._fleet.begin(place, now_s)
        others = {
            other.target
            for group in self._plan
            for other in group
            if other not in self._errors and self._fleet.admits(other, now_s)
        }
        others.discard(place.target)
        self._limit_s = max(0.0, self._deadline_s - now_s) / (1 + len(others))
        return self._limit_s

    def lives(self) -> None:
        """Report that the target has begun to answer."""
        self._fleet.lives(self._current())

    def succeeded(self, now_s: float) -> None:
        """Report that the try brought an answer."""
        self._release()
        self._fleet.succeeded(self._current(), now_s)

    def failed(self, error: UpstreamError, now_s: float) -> None:
        """Report that the try failed."""
        ticket = self._current()
        self._errors[ticket.place] = error
        self._release()
        # A call that came too late says nothing about the target.
        if self._limit_s <= 0 or self._optional:
            self._fleet.abandoned(ticket)
        else:
            self._fleet.failed(ticket, error, now_s)

    def abandoned(self) -> None:
        """Report that the try was given up."""
        self._release()
        self._fleet.abandoned(self._current())

    def _release(self) -> None:
        if self._reserved:
            self._reserved = False
            self._budget.release()

    def _current(self) -> Ticket:
        assert self._ticket is not None
        return self._ticket

    def _untried(self, now_s: float) -> Step | None:
        """Return the best destination that has not failed this call; one that rests where there is no other."""
        failed = {place.target for place, error in self._errors.items() if blame(error) is Blame.TARGET}
        # A call that asks a target that failed lately needs an extra try in reserve, so that it still gets an answer.
        has_reserve = self._budget.allows(now_s)
        fleet = self._fleet
        best: list[Destination] = []
        best_rank = None
        for number, group in enumerate(self._plan):
            for place in group:
                if place in self._errors or not fleet.admits(place, now_s):
                    continue
                rank = (
                    fleet.is_avoided(place, now_s),
                    not fleet.is_willing(place, now_s),
                    # Another model of a target that just failed seldom answers.
                    place.target in failed,
                    not has_reserve and not fleet.is_proven(place, now_s),
                    number,
                )
                if best_rank is None or rank < best_rank:
                    best, best_rank = [], rank
                if rank == best_rank:
                    best.append(place)
        if best_rank is None:
            return None
        return self._rested(best, now_s) if best_rank[0] else Step(self._choose(best))

    def _rested(self, places: list[Destination], now_s: float) -> Step:
        """Return the destination whose rest ends first, with the wait until then."""
        soonest = min(places, key=lambda place: self._fleet.rest_s(place, now_s))
        rest_s = self._fleet.rest_s(soonest, now_s)
        # With jitter: all calls that wait would come at the same moment otherwise.
        wait_s = rest_s + self._rng.uniform(0, self._settings.backoff_s)
        # Where the rest is too long to wait for, the target is asked now: its limit may not hold for every request.
        patient = 0 < rest_s <= self._settings.max_backoff_s and now_s + wait_s < self._deadline_s
        return Step(soonest, wait_s if patient else 0.0)

    def _choose(self, places: list[Destination]) -> Destination:
        """Draw a destination by weight; the first where no destination has a weight."""
        if len(places) == 1:
            return places[0]
        point = self._rng.random() * sum(place.weight for place in places)
        for place in places:
            point -= place.weight
            if point < 0:
                return place
        return places[0]

    def _repeated(self, now_s: float) -> Step | None:
        """Return a destination that failed and is asked again: the one that asked for the shortest wait."""
        steps = []
        for place, error in self._errors.items():
            delay_s = retry_delay_s(error, self._repeats + 1, self._deadline_s - now_s, self._settings, self._rng)
            if delay_s is not None and self._fleet.admits(place, now_s):
                steps.append((error.retry_after_s or 0.0, Step(place, delay_s)))
        return min(steps, key=lambda step: step[0])[1] if steps else None

    def _unavailable(self, now_s: float) -> UpstreamError:
        places = [place for group in self._plan for place in group]
        due_s = min(self._fleet.due_in_s(place, now_s) for place in places)
        names = ", ".join(dict.fromkeys(repr(place.target) for place in places))
        failures = dict.fromkeys(filter(None, (self._fleet.last_failure(place) for place in places)))
        return UpstreamError(
            f"No upstream that could answer is asked now, since all failed too often of late: {names}.",
            reason=UNAVAILABLE,
            retry_after_s=due_s,
            hint=" ".join([f"One is tried again in {due_s:.1f} s.", *failures]),
        )
