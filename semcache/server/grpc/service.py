"""The calls of `SemanticCacheService`: each turns a message into a value, asks the cache, and answers with a message.

The proto documents what each call does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf.message import Message

from semcache.errors import InvalidRequestError, SemcacheError
from semcache.long_work import LongWork
from semcache.model import Deposit, Finished, Started, Status, format_entry_id
from semcache.ports import Clock
from semcache.request import is_long
from semcache.server import audit
from semcache.server.auth import Caller
from semcache.server.grpc.calls import Calls
from semcache.server.grpc.roles import LEASE_ROLE
from semcache.server.grpc.status import code_of, sentence_of
from semcache.settings import Settings
from semcache.story import SemanticCache
from semcache.v1 import semcache_pb2 as pb
from semcache.wire import incoming, outgoing
from semcache.wire.answer import stored_answer
from semcache.wire.hits import HitMessages
from semcache.wire.savings import savings_query, savings_response
from semcache.wire.stats import stats_response

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["SemanticCacheService"].full_name
_ITEMS_AT_ONCE = 32
"""Items of a batch that run at once, a pass of the embedder. More would wait for each other and be refused for it."""
_INLINE_IDS = 500
"""Entry ids that are read on the event loop: they take about a millisecond."""
BatchItem = TypeVar("BatchItem", bound=Message)
BatchResult = TypeVar("BatchResult", pb.LookupResult, pb.StoreResult)


class Service:
    """One method for each call. Each gets the message, or what was read of it, and the caller."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        cache: SemanticCache,
        calls: Calls,
        long_work: LongWork,
        on_failure: Callable[[str], None],
    ) -> None:
        """Make a service that reads its messages through `calls`.

        Args:
            settings: limits.
            clock: the time.
            cache: what answers.
            calls: what every call goes through.
            long_work: does what would hold up the event loop.
            on_failure: gets the reason of each batch item that fails, to count it.
        """
        self._limits = settings.limits
        self._clock = clock
        self._cache = cache
        self._calls = calls
        self._long_work = long_work
        self._on_failure = on_failure
        self._hits = HitMessages()
        cache.subscribe(self._hits.follow)

    @property
    def hits(self) -> HitMessages:
        """The responses of exact hits that are kept."""
        return self._hits

    def handler(self) -> grpc.GenericRpcHandler:
        """Return all calls as one handler of a gRPC server."""
        calls = self._calls
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "Complete": calls.repeating(pb.CompleteRequest, self.read_complete, self.complete, self._holds),
                "CompleteStream": calls.repeating_streaming(
                    pb.CompleteStreamRequest, self.read_complete, self.complete_stream, self._holds
                ),
                "Lookup": calls.repeating(pb.LookupRequest, self.read_lookup, self.lookup, self._holds),
                "Store": calls.unary(pb.StoreRequest, self.store),
                "LookupBatch": calls.unary(pb.LookupBatchRequest, self.lookup_batch),
                "StoreBatch": calls.unary(pb.StoreBatchRequest, self.store_batch),
                "Explain": calls.unary(pb.ExplainRequest, self.explain),
                "ReportVerdict": calls.unary(pb.ReportVerdictRequest, self.report_verdict),
                "Invalidate": calls.unary(pb.InvalidateRequest, self.invalidate),
                "ListEntries": calls.streaming(pb.ListEntriesRequest, self.list_entries),
                "GetStats": calls.unary(pb.GetStatsRequest, self.get_stats),
                "GetSavings": calls.unary(pb.GetSavingsRequest, self.get_savings),
            },
        )

    async def _holds(self, call: incoming.CompleteCall | incoming.LookupCall) -> bool:
        return await self._cache.holds(call.request)

    def read_complete(
        self, message: pb.CompleteRequest | pb.CompleteStreamRequest, tenant: str
    ) -> incoming.CompleteCall:
        """Read a Complete or CompleteStream."""
        return incoming.CompleteCall(incoming.complete_call(message, tenant=tenant, limits=self._limits))

    def read_lookup(self, message: pb.LookupRequest, tenant: str) -> incoming.LookupCall:
        """Read a Lookup."""
        return incoming.lookup_call(message, tenant=tenant, limits=self._limits)

    async def complete(self, call: incoming.CompleteCall, caller: Caller) -> bytes:
        """Serve Complete."""
        response = await self._cache.complete(call.request)
        audit.filled(caller, response)
        if response.status is Status.EXACT_HIT:
            return self._hits.serialised(pb.CompleteResponse, response, caller.tenant)
        return outgoing.complete_response(response).SerializeToString()

    async def complete_stream(
        self, call: incoming.CompleteCall, caller: Caller
    ) -> AsyncIterator[pb.CompleteStreamResponse]:
        """Serve CompleteStream."""
        async with aclosing(self._cache.stream(call.request)) as frames:
            async for frame in frames:
                if isinstance(frame, bytes):
                    yield outgoing.chunk(frame)
                elif isinstance(frame, Started):
                    yield outgoing.started(frame.response)
                elif isinstance(frame, Finished):
                    audit.filled(caller, frame.response)
                    yield outgoing.finished(frame.response)

    async def lookup(self, call: incoming.LookupCall, caller: Caller) -> bytes:
        """Serve Lookup."""
        if call.want_lease:
            caller.require(LEASE_ROLE)
        longest_s = self._limits.lease_max_s
        lease_s = min(call.lease_ttl_s or longest_s, longest_s) if call.want_lease else None
        result = await self._cache.lookup(call.request, lease_s=lease_s)
        if result.response.status is Status.EXACT_HIT:
            return self._hits.serialised(pb.LookupResponse, result.response, caller.tenant)
        remaining_s = result.lease.expires_s - self._clock.monotonic() if result.lease else 0.0
        expires_s = self._clock.wall() + remaining_s
        return outgoing.lookup_response(result, lease_expires_s=expires_s).SerializeToString()

    async def store(self, message: pb.StoreRequest, caller: Caller) -> pb.StoreResponse:
        """Serve Store."""
        call = incoming.store_call(message, tenant=caller.tenant, limits=self._limits)
        if call.vector is not None:
            caller.require_own_embeddings()
        if call.request is not None:
            keyed = await self._cache.key(call.request)
        else:
            keyed = await self._cache.recall(caller.tenant, call.lookup_id)
            keyed = replace(keyed, request=call.onto(keyed.request))
        read_answer = partial(
            stored_answer,
            message,
            alias=keyed.alias,
            answer_id=f"chatcmpl-{keyed.exact_key.hex()[:24]}",
            now_s=self._clock.wall(),
            limits=self._limits,
        )
        is_inline = not is_long(message.openai_json)
        answer = read_answer() if is_inline else await self._long_work.run(caller.tenant, read_answer)
        deposit = Deposit(
            keyed=keyed,
            answer=answer,
            lookup_id=call.lookup_id,
            lease_id=call.lease_id,
            vector=call.vector,
            fingerprint=call.embedder_fingerprint,
            caller=caller.name,
        )
        with audit.changing(caller, "Store"):
            deposited = await self._cache.store(deposit)
        audit.stored(caller, deposited)
        return outgoing.store_response(deposited)

    async def lookup_batch(self, message: pb.LookupBatchRequest, caller: Caller) -> pb.LookupBatchResponse:
        """Serve LookupBatch. An item doesn't wait for another caller's lease."""

        async def lookup(item: pb.LookupRequest, result: pb.LookupResult) -> None:
            call = incoming.batched_lookup_call(item, tenant=caller.tenant, limits=self._limits)
            outgoing.fill_lookup(result.response, await self._cache.lookup(call.request, waits=False))

        batch = pb.LookupBatchResponse()
        await self._for_each(caller.tenant, message.requests, batch.results, lookup)
        return batch

    async def store_batch(self, message: pb.StoreBatchRequest, caller: Caller) -> pb.StoreBatchResponse:
        """Serve StoreBatch."""

        async def store(item: pb.StoreRequest, result: pb.StoreResult) -> None:
            result.response.CopyFrom(await self.store(item, caller))

        batch = pb.StoreBatchResponse()
        await self._for_each(caller.tenant, message.requests, batch.results, store)
        return batch

    async def explain(self, message: pb.ExplainRequest, caller: Caller) -> pb.ExplainResponse:
        """Serve Explain."""
        request = incoming.explain_call(message, tenant=caller.tenant, limits=self._limits)
        explanation = await self._cache.explain(request)
        return outgoing.explain_response(
            explanation,
            policy=self._cache.policy,
            embedder_fingerprint=self._cache.embedder_fingerprint,
            max_candidates=message.max_candidates,
            now_s=self._clock.wall(),
        )

    async def report_verdict(self, message: pb.ReportVerdictRequest, caller: Caller) -> pb.ReportVerdictResponse:
        """Serve ReportVerdict."""
        call = incoming.verdict_call(message)
        request_id = self._cache.new_id()
        with audit.changing(caller, "ReportVerdict"):
            outcome = await self._cache.report_verdict(caller.tenant, call.hit_id, right=call.right)
        audit.verdict_reported(caller, request_id, outcome, right=call.right, judge=call.judge, note=call.note)
        return pb.ReportVerdictResponse(
            request_id=request_id,
            entry_id=format_entry_id(outcome.served.entry_id),
            removed=outcome.removed,
            blocked=not call.right,
        )

    async def invalidate(self, message: pb.InvalidateRequest, caller: Caller) -> pb.InvalidateResponse:
        """Serve Invalidate."""
        read_selector = partial(
            incoming.selector, message, tenant=caller.tenant, now_s=self._clock.wall(), limits=self._limits
        )
        is_inline = len(message.entry_ids) <= _INLINE_IDS
        selector = read_selector() if is_inline else await self._long_work.run(caller.tenant, read_selector)
        request_id = self._cache.new_id()
        with audit.changing(caller, "Invalidate") if message.apply else nullcontext():
            invalidated = await self._cache.invalidate(selector, apply=message.apply)
        if message.apply:
            audit.invalidated(caller, request_id, selector, invalidated.count)
        return pb.InvalidateResponse(
            request_id=request_id,
            matched_count=invalidated.count,
            removed_count=invalidated.count if message.apply else 0,
            generation=invalidated.generation,
        )

    async def list_entries(
        self, message: pb.ListEntriesRequest, caller: Caller
    ) -> AsyncIterator[pb.ListEntriesResponse]:
        """Serve ListEntries."""
        if message.limit < 0:
            raise InvalidRequestError("limit is negative.", hint="0 means the configured maximum.")
        remaining = min(message.limit or self._limits.list_entries, self._limits.list_entries)
        async with aclosing(self._cache.entries(caller.tenant, message.tag)) as entries:
            async for entry in entries:
                if (not message.namespace or entry.namespace == message.namespace) and (
                    not message.model or entry.alias == message.model
                ):
                    yield pb.ListEntriesResponse(entry=outgoing.entry_message(entry))
                    remaining -= 1
                    if not remaining:
                        return

    async def get_stats(self, message: pb.GetStatsRequest, caller: Caller) -> pb.GetStatsResponse:
        """Serve GetStats."""
        del message
        return stats_response(self._cache.snapshot(None if caller.reads_all else caller.tenant))

    async def get_savings(self, message: pb.GetSavingsRequest, caller: Caller) -> pb.GetSavingsResponse:
        """Serve GetSavings."""
        query = savings_query(message, tenant=caller.tenant, reads_all=caller.reads_all, now_s=self._clock.wall())
        answer = await self._cache.savings(query)
        return savings_response(query, answer, self._cache.budgets(caller.tenant), request_id=self._cache.new_id())

    async def _for_each(
        self,
        tenant: str,
        items: Sequence[BatchItem],
        results: RepeatedCompositeFieldContainer[BatchResult],
        handle: Callable[[BatchItem, BatchResult], Awaitable[None]],
    ) -> None:
        """Add a result for each item, in order, and let `handle` fill it where it stands. An item fails alone.

        Everything else may run between the beginnings of two items. At most `_ITEMS_AT_ONCE` run at once.
        """
        if not 1 <= len(items) <= self._limits.batch_items:
            raise InvalidRequestError(
                f"A batch of {len(items)} items; it may have 1 to {self._limits.batch_items}.",
                reason="INVALID_BATCH_SIZE",
                hint="Split it, or raise limits.batch_items.",
            )

        room = asyncio.Semaphore(_ITEMS_AT_ONCE)

        async def guarded(item: BatchItem, result: BatchResult) -> None:
            try:
                async with room:
                    await self._long_work.pause(tenant)
                    await handle(item, result)
            except SemcacheError as error:
                self._on_failure(error.reason)
                result.error.code = code_of(error).value[0]
                result.error.message = sentence_of(error)
                result.error.reason = error.reason

        await asyncio.gather(*[guarded(item, results.add()) for item in items])
