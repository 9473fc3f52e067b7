"""What callers are told: responses made of an account and a flight's outcome."""

from __future__ import annotations

from dataclasses import replace

from semcache.coordination import Flight
from semcache.costs.account import Account
from semcache.decision import EXACT_HIT_SENTENCE, detail
from semcache.errors import NotFoundError
from semcache.model import ZERO_COST, Cost, Decision, Entry, KeyedRequest, Response, Status
from semcache.ports import Clock
from semcache.protocols import FORMS
from semcache.story.classifying import task_of_hit
from semcache.story.outcomes import Fetched, Found, NotCached, Outcome, Stale
from semcache.story.rules import miss_reason, status_upstream


class Answers:
    """Makes responses; a hit, a stale answer, a coalesced request and a cache-only miss end their account here."""

    def __init__(self, clock: Clock) -> None:
        """Prepare it; wall time tells the age of entries."""
        self._clock = clock

    def serve_exact(self, account: Account, keyed: KeyedRequest, entry: Entry) -> Response:
        """Answer with the entry that the exact tier found."""
        account.task = task_of_hit(account.task, entry)
        saved = account.end_as_hit(Status.EXACT_HIT, keyed, entry, similarity=1.0, reason="exact_match")
        return self._hit(
            account, entry, Status.EXACT_HIT, "exact_match", EXACT_HIT_SENTENCE, similarity=1.0, saved=saved
        )

    def serve_found(self, account: Account, keyed: KeyedRequest, found: Found) -> Response:
        """Answer with an entry that the semantic tier found."""
        entry, decision, judgement = found.entry, found.decision, found.decision.served
        status, reason = found.status, decision.reason
        similarity = judgement.candidate.similarity if judgement else 1.0
        account.task = task_of_hit(account.task, entry)
        saved = account.end_as_hit(
            status,
            keyed,
            entry,
            similarity=similarity,
            reason=reason,
            vector=found.vector,
            probability=judgement.probability if judgement else None,
        )
        sentence = detail(status, reason, decision)
        response = self._hit(account, entry, status, reason, sentence, similarity=similarity, saved=saved)
        body = FORMS[keyed.request.protocol].shared(entry.answer.body)
        return response._replace(
            answer=entry.answer if body is entry.answer.body else replace(entry.answer, body=body),
            verdicts=judgement.verdicts if judgement else (),
            effective_threshold=decision.threshold,
        )

    def serve_stale(self, account: Account, keyed: KeyedRequest, stale: Stale) -> Response:
        """Answer with an expired entry; with one that was stored anew during the call, as with an exact hit."""
        entry = stale.entry
        stale_s = self._clock.wall() - entry.expires_s
        if stale_s < 0:
            return self.serve_exact(account, keyed, entry)
        account.task = task_of_hit(account.task, entry)
        account.end_as_stale(keyed, entry, reason=stale.reason)
        sentence = f"The upstream failed, so an answer was served that expired {stale_s:.0f} s ago: {stale.failure}"
        response = self._hit(account, entry, Status.STALE, stale.reason, sentence, similarity=1.0, saved=ZERO_COST)
        return response._replace(stale_s=stale_s)

    def tell_leader(self, account: Account, keyed: KeyedRequest, outcome: Outcome) -> Response:
        """Answer the request that a flight was started for.

        Raises:
            NotFoundError: CACHE_ONLY_MISS.
        """
        if isinstance(outcome, Found):
            return self.serve_found(account, keyed, outcome)
        if isinstance(outcome, Stale):
            return self.serve_stale(account, keyed, outcome)
        if isinstance(outcome, NotCached):
            raise self._cache_only_miss(account, keyed, outcome)
        response = self.without_answer(account, outcome.status, outcome.reason, outcome.decision)
        return response._replace(
            answer=outcome.answer,
            entry_id=outcome.entry_id,
            usage=outcome.answer.usage,
            cost=outcome.cost,
            saved=ZERO_COST,
            stored=outcome.entry_id != 0,
            store_reason=outcome.store_reason,
        )

    def tell_follower(self, account: Account, keyed: KeyedRequest, outcome: Outcome) -> Response:
        """Answer a request that joined another's flight.

        Raises:
            NotFoundError: CACHE_ONLY_MISS.
        """
        account.lap("wait")
        if isinstance(outcome, Found):
            return self.serve_found(account, keyed, outcome)
        if isinstance(outcome, Stale):
            return self.serve_stale(account, keyed, outcome)
        if isinstance(outcome, NotCached):
            raise self._cache_only_miss(account, keyed, outcome)
        return self._coalesced(account, outcome)

    def announce(self, account: Account, keyed: KeyedRequest, flight: Flight[Outcome], *, leads: bool) -> Response:
        """Say, before a live stream, how the request will be answered."""
        if not leads:
            return self.without_answer(account, Status.COALESCED, "in_flight")
        status, _ = status_upstream(keyed, None)
        return self.without_answer(account, status, flight.reason)

    def without_answer(
        self, account: Account, status: Status, reason: str, decision: Decision | None = None
    ) -> Response:
        """Make a response without an answer; `decision` tells of the nearest candidate."""
        nearest = decision.judgements[0] if decision and decision.judgements else None
        return Response(
            request_id=account.request_id,
            status=status,
            reason=reason,
            alias=account.alias,
            detail=detail(status, reason, decision),
            similarity=nearest.candidate.similarity if nearest else None,
            verdicts=nearest.verdicts if nearest else (),
            effective_threshold=decision.threshold if decision else None,
            stages=tuple(account.stages),
            task=account.task,
        )

    def _hit(
        self,
        account: Account,
        entry: Entry,
        status: Status,
        reason: str,
        sentence: str,
        *,
        similarity: float,
        saved: Cost,
    ) -> Response:
        return Response(
            request_id=account.request_id,
            status=status,
            reason=reason,
            alias=account.alias,
            answer=entry.answer,
            detail=sentence,
            entry_id=entry.entry_id,
            hit_id=account.request_id,
            similarity=similarity,
            age_s=self._age_s(entry),
            usage=entry.answer.usage,
            cost=ZERO_COST,
            saved=saved,
            stages=tuple(account.stages),
            task=account.task,
        )

    def _coalesced(self, account: Account, outcome: Fetched) -> Response:
        if not account.task.task_type:
            account.task = outcome.task
        saved = account.end_as_coalesced(outcome.answer, reason="in_flight")
        response = self.without_answer(account, Status.COALESCED, "in_flight")
        return response._replace(
            answer=outcome.answer,
            entry_id=outcome.entry_id,
            usage=outcome.answer.usage,
            cost=ZERO_COST,
            saved=saved,
        )

    def _cache_only_miss(self, account: Account, keyed: KeyedRequest, outcome: NotCached) -> NotFoundError:
        account.end_as_lookup(Status.MISS, reason=miss_reason(keyed, outcome.decision))
        return NotFoundError(
            "The cache holds no answer, and the request allows no other.",
            reason="CACHE_ONLY_MISS",
            hint="Send it with the default mode to ask the upstream.",
        )

    def _age_s(self, entry: Entry) -> float:
        return max(0.0, self._clock.wall() - entry.created_s)
