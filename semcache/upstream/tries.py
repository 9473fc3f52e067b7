"""One call's way through the targets that may answer it: who is asked next, after which wait, for how long at most.

Why no request fails that a target could have answered, and calls stay below 1.2 × requests, at the same time: a target
that fails costs the few calls that open its breaker (and later its probes) one more try each, and passing over an open
breaker costs none, so that first tries go to targets that live; and whoever asks a target that failed of late stakes
one of the extra tries that the budget has left, or asks another target where there is one. Only where many calls are in
flight at a healthy target that dies can't the two both hold: then the budget wins, and calls beyond it fail, since a
storm would take the other targets too.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from semcache.errors import UpstreamError
from semcache.settings import RetrySettings
from semcache.upstream.fleet import Fleet, Ticket
from semcache.upstream.retries import UNAVAILABLE, Blame, blame, retry_delay_s
from semcache.upstream.retry_budget import RetryBudget
from semcache.upstream.routes import Destination, Plan


@dataclass(frozen=True, slots=True)
class Step:
    """Whom to ask, and how many seconds to wait before."""

    destination: Destination
    wait_s: float = 0.0


class Tries:
    """Decides and keeps the books of one call; waits for nothing. Times are monotonic seconds.

    For each try: `next`, after its wait `begin`, and one of `succeeded`, `failed` and `left`.

    Args:
        plan: who may answer.
        deadline_s: the call's end, shared by all tries.
        fleet: how all targets are.
        budget: the extra tries of all calls.
        settings: how a failed try is repeated.
        rng: chooses by weight, and jitters.
    """

    def __init__(
        self,
        plan: Plan,
        deadline_s: float,
        *,
        fleet: Fleet,
        budget: RetryBudget,
        settings: RetrySettings,
        rng: random.Random,
    ) -> None:
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
        self._staked = False
        self._limit_s = 0.0
        self.made = 0
        """Tries so far."""

    @property
    def last(self) -> Destination | None:
        """Who was asked last."""
        return None if self._ticket is None else self._ticket.place

    def next(self, now_s: float) -> Step:
        """The next try.

        Raises:
            UpstreamError: there is none: as the last try failed, or UPSTREAM_UNAVAILABLE when nobody could be asked.
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
        if blame(error) is Blame.REQUEST or now_s >= self._deadline_s:
            raise error
        step = self._untried(now_s) or self._repeated(now_s)
        # One that was waited for, and may not be asked any more, was no try: what it took is still there.
        if step is None or not (self._charged or self._budget.take(now_s)):
            raise error
        self._charged = True
        return step

    def admits(self, place: Destination, now_s: float) -> bool:
        """Whether a target may still be asked, after a wait."""
        return self._fleet.admits(place, now_s)

    def begin(self, place: Destination, now_s: float) -> float:
        """A try begins; gives the seconds that it may take: what is left, shared with the targets not yet tried."""
        self.made += 1
        self._charged = False
        self._repeats += place in self._errors
        self._staked = not self._fleet.is_proven(place, now_s)
        if self._staked:
            self._budget.stake()
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
        """The target has begun to answer."""
        self._fleet.lives(self._current())

    def succeeded(self, now_s: float) -> None:
        """The try brought an answer."""
        self._unstake()
        self._fleet.succeeded(self._current(), now_s)

    def failed(self, error: UpstreamError, now_s: float) -> None:
        """The try failed."""
        ticket = self._current()
        self._errors[ticket.place] = error
        self._unstake()
        if self._limit_s <= 0:  # A call that came too late says nothing about the target.
            self._fleet.left(ticket)
        else:
            self._fleet.failed(ticket, error, now_s)

    def left(self) -> None:
        """The try was given up."""
        self._unstake()
        self._fleet.left(self._current())

    def _unstake(self) -> None:
        if self._staked:
            self._staked = False
            self._budget.unstake()

    def _current(self) -> Ticket:
        assert self._ticket is not None
        return self._ticket

    def _untried(self, now_s: float) -> Step | None:
        """Somebody who hasn't failed this call: the best of the first group that has any, else one that rests."""
        failed = {place.target for place, error in self._errors.items() if blame(error) is Blame.TARGET}
        # Who asks a target that failed of late stakes an extra try, since the request must still get its answer.
        may_gamble = self._budget.allows(now_s)
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
                    # Another model of a target that just failed may do, and seldom does.
                    place.target in failed,
                    not may_gamble and not fleet.is_proven(place, now_s),
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
        """The one whose rest is over first, after it."""
        soonest = min(places, key=lambda place: self._fleet.rest_s(place, now_s))
        rest_s = self._fleet.rest_s(soonest, now_s)
        # With jitter, for all who wait would come at the same moment.
        wait_s = rest_s + self._rng.uniform(0, self._settings.backoff_s)
        # Longer than anyone waits: then asking now is the better chance, as a limit may not meet every request.
        patient = 0 < rest_s <= self._settings.max_backoff_s and now_s + wait_s < self._deadline_s
        return Step(soonest, wait_s if patient else 0.0)

    def _choose(self, places: list[Destination]) -> Destination:
        """One by weight; the first where none has any."""
        if len(places) == 1:
            return places[0]
        point = self._rng.random() * sum(place.weight for place in places)
        for place in places:
            point -= place.weight
            if point < 0:
                return place
        return places[0]

    def _repeated(self, now_s: float) -> Step | None:
        """One that failed and may do better: who asked for the shortest wait, after it."""
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
        told = dict.fromkeys(filter(None, (self._fleet.last_failure(place) for place in places)))
        return UpstreamError(
            f"No upstream that could answer is asked now, since all failed too often of late: {names}.",
            reason=UNAVAILABLE,
            retry_after_s=due_s,
            hint=" ".join([f"One is tried again in {due_s:.1f} s.", *told]),
        )
