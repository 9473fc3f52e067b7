"""The story of a request: keyed, looked up exactly, coalesced, embedded, searched, decided, forwarded, stored, priced.

This file reads from top to bottom in call order; each step is a module of this room. Look-aside, explanations and
corrections stand beside it and use the same steps. Every front calls `SemanticCache` and nothing behind it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext

from semcache.coordination import Flight, Twin
from semcache.costs.account import Account
from semcache.costs.budgets import Balance
from semcache.errors import UpstreamError
from semcache.finance.savings import SavingsAnswer, SavingsQuery
from semcache.model import (
    CacheMode,
    Changes,
    Deposit,
    Deposited,
    Entry,
    Explanation,
    Finished,
    Invalidated,
    KeyedRequest,
    LookupResult,
    PassedCall,
    PassedReply,
    QueueStats,
    Request,
    Response,
    Selector,
    Snapshot,
    Started,
    Tier,
    VerdictOutcome,
)
from semcache.story.outcomes import Found, NotCached, Outcome, Stale
from semcache.story.rooms import Rooms
from semcache.story.rules import key_request, keyed_request, may_join, may_read
from semcache.story.steps import Steps

_LONGEST_USAGE_BYTES = 64 * 1024
"""A longer chunk than this brings more than a usage, and reading it anew for each reader would take milliseconds."""


class SemanticCache:
    """Answers requests from earlier, equivalent ones when it has good reason to, and forwards the others."""

    def __init__(self, rooms: Rooms) -> None:
        """Put the steps together over the rooms that they use."""
        self._steps = Steps.over(rooms)
        self._upstream = rooms.upstream
        self._answer_bytes = rooms.settings.limits.answer_bytes
        self.policy = rooms.settings.decision.policy
        """Name of the decision policy."""
        self.embedder_fingerprint = rooms.embedder.fingerprint
        """Names the vector space of the entries."""
        self.reembed = self._steps.reembedding.run
        """Embeds anew what another embedder made, in the background, until it is cancelled or nothing is left."""

    async def complete(self, request: Request) -> Response:
        """Answer from the cache when the decision allows, otherwise from the upstream, and store that answer.

        Raises:
            SemcacheError: the error of the step that failed; nothing is stored then.
        """
        with self._steps.accounts.open(request) as account:
            keyed = await key_request(self._steps.keying, self._steps.long_work, account, request)
            entry = await self._steps.exact.look(account, keyed)
            if entry is not None:
                return self._steps.answers.serve_exact(account, keyed, entry)
            keyed = self._steps.classifying.by_rule(account, keyed)
            flight, leads = self._join_or_lead(account, keyed, streams=False)
            return self._respond(account, keyed, await flight.outcome(), leads=leads)

    async def stream(self, request: Request) -> AsyncGenerator[Started | bytes | Finished, None]:
        """Answer as `complete` does, as a stream, live and replayed alike.

        Yields:
            `Started`, then the JSON of each of the protocol's events, then `Finished`.

        Raises:
            SemcacheError: as `complete`; also between chunks, when the upstream fails half-way.
        """
        with self._steps.accounts.open(request) as account:
            keyed = await key_request(self._steps.keying, self._steps.long_work, account, request)
            response = await self._exact_response(account, keyed)
            if response is None:
                keyed = self._steps.classifying.by_rule(account, keyed)
                flight, leads = self._join_or_lead(account, keyed, streams=True)
                if await flight.asked() and flight.has_chunks:
                    yield Started(self._steps.answers.announce(account, keyed, flight, leads=leads))
                    async with aclosing(flight.chunks()) as live:
                        async for chunk in live:
                            if keyed.include_usage or not _holds_usage_alone(chunk):
                                yield chunk
                    yield Finished(self._respond(account, keyed, await flight.outcome(), leads=leads))
                    return
                response = await self._landed_response(account, keyed, flight, leads=leads)
                del flight  # It holds a copy of the answer.
            async with self._steps.replays.open(request, response) as replay:
                response = response._replace(answer=replay.answer)
                yield Started(response)
                for chunk in replay.chunks(include_usage=keyed.include_usage):
                    yield chunk
                yield Finished(response)

    async def _exact_response(self, account: Account, keyed: KeyedRequest) -> Response | None:
        """Return the response of an exact hit that is to be replayed; None where there is no such hit.

        Raises:
            OverLimitError: STREAM_MEMORY.
        """
        entry = await self._steps.exact.look(account, keyed)
        if entry is None:
            return None
        self._steps.replays.require_room(keyed.request.tenant, entry.entry_id, entry.answer)
        return self._steps.answers.serve_exact(account, keyed, entry)

    async def _landed_response(
        self, account: Account, keyed: KeyedRequest, flight: Flight[Outcome], *, leads: bool
    ) -> Response:
        """Return the response to one of a flight's waiters whose answer is to be replayed.

        Raises:
            OverLimitError: STREAM_MEMORY.
        """
        outcome = await flight.outcome()
        if not isinstance(outcome, NotCached):
            source = outcome.entry if isinstance(outcome, Found | Stale) else outcome
            self._steps.replays.require_room(keyed.request.tenant, source.entry_id, source.answer)
        return self._respond(account, keyed, outcome, leads=leads)

    def _join_or_lead(self, account: Account, keyed: KeyedRequest, *, streams: bool) -> tuple[Flight[Outcome], bool]:
        """Return the flight that answers this request, and whether it was started for it.

        Raises:
            OverLimitError: STREAM_MEMORY: there is no room for a further live stream.

        A flight holds the account of the request that it was started for. So the caller may leave, and what the flight
        spends is booked all the same.
        """
        control = keyed.request.control
        # A tighter threshold or a younger age may refuse what a laxer request is served, so these never share.
        bound = (self._steps.decider.threshold(keyed), self._steps.classifying.is_open(keyed))
        key = (keyed.exact_key, control.mode, bound, control.max_age_s) if may_join(keyed) else None
        flight = self._steps.flights.find(key) if key is not None else None
        if flight is not None:
            return flight, False
        tenant = keyed.request.tenant
        if streams:
            self._steps.stream_memory.require_room(tenant, self._answer_bytes)
        account.hold()
        flight = self._steps.flights.start(
            key,
            lambda new: self._find_or_fetch(account, keyed, new),
            streams=streams,
            tenant=tenant,
            ended=account.release,
        )
        return flight, True

    async def _find_or_fetch(self, account: Account, keyed: KeyedRequest, flight: Flight[Outcome]) -> Outcome:
        """Try the semantic tier, then a paraphrase in flight, then the upstream: the work of a flight."""
        # Taken before the search, which may miss the answer of a twin that ends meanwhile.
        under_way = self._steps.twins.of(keyed.partitions)
        vector, decision = None, None
        if may_read(keyed):
            searched = await self._steps.searching.search(account, keyed)
            if searched.found is not None:
                return searched.found
            keyed, vector, decision = searched.keyed, searched.vector, searched.decision
        if keyed.request.control.mode is CacheMode.CACHE_ONLY:
            return NotCached(decision)
        if vector is None:
            classified = await self._steps.searching.classify(account, keyed)
            keyed, vector = classified.keyed, classified.vector
        if vector is not None and may_join(keyed):
            try:
                found: Outcome | None = await self._steps.paraphrases.wait(account, keyed, vector, under_way)
            except UpstreamError as error:
                found = await self._steps.stale.find(keyed, error)
                if found is None:
                    raise
            if found is not None:
                return found
        late_vector = None if vector is not None else self._steps.filling.embed_meanwhile(account, keyed)
        # `Paraphrases` returned without an await after its last look, unless it waited for a twin in vain. So becoming
        # a twin here is one step with that look: of two paraphrases, one always sees the other.
        compared = may_join(keyed) and keyed.cacheability.tier is Tier.SEMANTIC
        twins, twin = self._steps.twins, Twin(keyed, flight, vector, late_vector)
        with twins.under_way(twin) if compared else nullcontext():
            return await self._steps.filling.fetch(
                account, keyed, flight, vector=vector, late_vector=late_vector, decision=decision
            )

    def _respond(self, account: Account, keyed: KeyedRequest, outcome: Outcome, *, leads: bool) -> Response:
        """Tell one of a flight's waiters how it ended."""
        respond = self._steps.answers.tell_leader if leads else self._steps.answers.tell_follower
        return respond(account, keyed, outcome)

    async def holds(self, request: Request) -> bool:
        """Return whether an exact hit would answer the request now. Nothing is recorded of it.

        Raises:
            InvalidRequestError: the body isn't a request that can be cached or forwarded.
        """
        keyed = await keyed_request(self._steps.keying, self._steps.long_work, request)
        return may_read(keyed) and await self._steps.exact.find(keyed) is not None

    # -- beside the story: each of these is told in a module of its own

    async def key(self, request: Request) -> KeyedRequest:
        """Return a request with its keys and its task by rule, for a Store or an Explain.

        Raises:
            InvalidRequestError: the body isn't a request that can be cached or forwarded.
        """
        keyed = await keyed_request(self._steps.keying, self._steps.long_work, request)
        return self._steps.classifying.classified(keyed)

    async def lookup(self, request: Request, lease_s: float | None = None, *, waits: bool = True) -> LookupResult:
        """Only look (`LookAside.lookup`)."""
        return await self._steps.lookaside.lookup(request, lease_s=lease_s, waits=waits)

    async def recall(self, tenant: str, lookup_id: str) -> KeyedRequest:
        """Return the request of a lookup that missed (`LookAside.recall`)."""
        return await self._steps.lookaside.recall(tenant, lookup_id)

    async def store(self, deposit: Deposit) -> Deposited:
        """Store a caller's own answer (`LookAside.store`)."""
        return await self._steps.lookaside.store(deposit)

    async def explain(self, request: Request) -> Explanation:
        """Tell what would happen to a request, and why (`Explaining.explain`)."""
        return await self._steps.explaining.explain(request, await self.key(request))

    async def report_verdict(self, tenant: str, hit_id: str, *, right: bool) -> VerdictOutcome:
        """Tie a verdict to a hit (`Corrections.report_verdict`)."""
        return await self._steps.corrections.report_verdict(tenant, hit_id, right=right)

    async def invalidate(self, selector: Selector, *, apply: bool) -> Invalidated:
        """Count, and with `apply` delete, the entries that `selector` names (`Corrections.invalidate`)."""
        return await self._steps.corrections.invalidate(selector, apply=apply)

    def pass_on(self, call: PassedCall) -> AbstractAsyncContextManager[PassedReply]:
        """Return the context of a call that no step of the story knows, and that a target answers (`Upstream`)."""
        return self._upstream.pass_on(call)

    def entries(self, tenant: str, tag: str = "") -> AsyncGenerator[Entry, None]:
        """Yield a tenant's live entries by id (`Statistics.entries`)."""
        return self._steps.statistics.entries(tenant, tag)

    async def savings(self, query: SavingsQuery) -> SavingsAnswer:
        """Sum up what was spent and saved (`Statistics.savings`)."""
        return await self._steps.statistics.savings(query)

    def budgets(self, tenant: str) -> Sequence[Balance]:
        """Return the balances of a tenant's own budgets."""
        return self._steps.accounts.budgets.balances(tenant)

    def snapshot(self, tenant: str | None = None) -> Snapshot:
        """Return the state of this process: of one tenant what is its own, for None of all tenants together."""
        return self._steps.statistics.snapshot(tenant)

    def queues(self) -> Sequence[QueueStats]:
        """Return depth and capacity of every queue (`Statistics.queues`)."""
        return self._steps.statistics.queues()

    def new_id(self) -> str:
        """Return an id for a call that is no request."""
        return self._steps.accounts.new_id()

    def subscribe(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` on the event loop after each commit that changed entries."""
        self._steps.statistics.subscribe(listener)

    async def drain(self, grace_s: float) -> None:
        """Let upstream calls end and be booked, at most `grace_s` seconds, then make everything durable."""
        await self._steps.flights.drain(grace_s)
        await self._steps.accounts.ledger.flush()
        self._steps.long_work.close()


def _holds_usage_alone(chunk: bytes) -> bool:
    """Return whether a chunk tells the usage and nothing else: semcache always asks for it, the caller may not have."""
    return len(chunk) <= _LONGEST_USAGE_BYTES and b'"usage"' in chunk and not json.loads(chunk).get("choices")
