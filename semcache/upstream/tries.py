"""One call's way through the targets that may answer it: who is asked next, after which wait, for how long at most.

Why no request fails that a target could have answered, and calls stay below 1.2 × requests, at the same time: a target
that fails costs one more try for each of the few calls that it takes to open its breaker (`breaker.failures`, and those
in flight at that moment), which the retry budget and its floor pay for; from then on every call passes it over without
a try, so that first tries go to targets that live, and the only extra tries are probes, which are made only while the
budget could pay for the way on to another target. Where many calls are in flight at a target that dies all at once,
the two can't both hold, and the budget wins: the calls beyond it fail, since a storm would take the other targets too.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from semcache.errors import UpstreamError
from semcache.settings import RetrySettings
from semcache.upstream.breaker import Breaker, BreakerState
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
        breakers: of all targets, by name.
        budget: of all calls.
        settings: how a failed try is repeated.
        rng: chooses by weight, and jitters.
    """

    def __init__(
        self,
        plan: Plan,
        deadline_s: float,
        *,
        breakers: Mapping[str, Breaker],
        budget: RetryBudget,
        settings: RetrySettings,
        rng: random.Random,
    ) -> None:
        self._plan = plan
        self._deadline_s = deadline_s
        self._breakers = breakers
        self._budget = budget
        self._settings = settings
        self._rng = rng
        self._errors: dict[Destination, UpstreamError] = {}
        self._repeats = 0
        self._began = 0
        self.made = 0
        """Tries so far."""
        self.last: Destination | None = None
        """Who was asked last."""

    def next(self, now_s: float) -> Step:
        """The next try.

        Raises:
            UpstreamError: there is none: as the last try failed, or UPSTREAM_UNAVAILABLE when nobody could be asked.
        """
        if not self.made:
            step = self._untried(now_s)
            if step is None:
                raise self._unavailable(now_s)
            self._budget.called(now_s)
            return step
        assert self.last is not None
        error = self._errors[self.last]
        if blame(error) is Blame.REQUEST or now_s >= self._deadline_s:
            raise error
        step = self._untried(now_s) or self._repeated(now_s)
        if step is None or not self._budget.take(now_s):
            raise error
        return step

    def admits(self, destination: Destination, now_s: float) -> bool:
        """Whether a destination may still be asked, after a wait."""
        return self._breakers[destination.target].admits(now_s)

    def begin(self, destination: Destination, now_s: float) -> float:
        """A try begins; gives the seconds that it may take: what is left, shared with the targets not yet tried."""
        self.made += 1
        self.last = destination
        self._began = self._breakers[destination.target].begin()
        others = {
            place.target
            for group in self._plan
            for place in group
            if place not in self._errors and self._breakers[place.target].admits(now_s)
        }
        others.discard(destination.target)
        return max(0.0, self._deadline_s - now_s) / (1 + len(others))

    def lives(self) -> None:
        """The target has begun to answer."""
        self._breaker().lives(self._began)

    def succeeded(self, now_s: float) -> None:
        """The try brought an answer."""
        self._breaker().succeeded(self._began, now_s)

    def failed(self, error: UpstreamError, now_s: float) -> None:
        """The try failed."""
        assert self.last is not None
        self._errors[self.last] = error
        breaker = self._breaker()
        whose = blame(error)
        if whose is Blame.TARGET:
            breaker.failed(self._began, now_s, error.retry_after_s)
            return
        breaker.succeeded(self._began, now_s)
        if whose is Blame.BUSY:
            breaker.rest(now_s, error.retry_after_s)

    def left(self) -> None:
        """The try was given up."""
        self._breaker().left(self._began)

    def _breaker(self) -> Breaker:
        assert self.last is not None
        return self._breakers[self.last.target]

    def _untried(self, now_s: float) -> Step | None:
        """Somebody who hasn't failed this call: the best of the first group that has any, else one that rests."""
        failed = {place.target for place, error in self._errors.items() if blame(error) is Blame.TARGET}
        # A probe gambles with a request that must still get its answer elsewhere.
        may_probe = self._budget.allows(now_s)
        best: list[Destination] = []
        best_rank = None
        for number, group in enumerate(self._plan):
            for place in group:
                breaker = self._breakers[place.target]
                if place in self._errors or not breaker.admits(now_s):
                    continue
                gamble = not may_probe and breaker.state(now_s) is not BreakerState.CLOSED
                # Another model of a target that just failed may do, and seldom does.
                rank = (breaker.rest_s(now_s) > 0, place.target in failed, gamble, number)
                if best_rank is None or rank < best_rank:
                    best, best_rank = [], rank
                if rank == best_rank:
                    best.append(place)
        if best_rank is None:
            return None
        return self._rested(best, now_s) if best_rank[0] else Step(self._choose(best))

    def _rested(self, places: list[Destination], now_s: float) -> Step:
        """The one whose rest is over first, after it."""
        soonest = min(places, key=lambda place: self._breakers[place.target].rest_s(now_s))
        wait_s = self._breakers[soonest.target].rest_s(now_s) + self._rng.uniform(0, self._settings.backoff_s)
        # Longer than anyone waits: then asking now is the better chance, as a limit may not meet every request.
        patient = wait_s <= self._settings.max_backoff_s and now_s + wait_s < self._deadline_s
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
            if delay_s is not None and self._breakers[place.target].admits(now_s):
                steps.append((error.retry_after_s or 0.0, Step(place, delay_s)))
        if not steps:
            return None
        self._repeats += 1
        return min(steps, key=lambda step: step[0])[1]

    def _unavailable(self, now_s: float) -> UpstreamError:
        targets = list(dict.fromkeys(place.target for group in self._plan for place in group))
        due_s = min(self._breakers[target].due_in_s(now_s) for target in targets)
        names = ", ".join(repr(target) for target in targets[:5])
        return UpstreamError(
            f"No upstream that could answer is asked now, since all failed too often of late: {names}.",
            reason=UNAVAILABLE,
            retry_after_s=due_s,
            hint=f"One is tried again in {due_s:.1f} s.",
        )
