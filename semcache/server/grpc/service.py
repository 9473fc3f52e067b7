"""The calls of `SemanticCacheService`: messages in, the cache's story, messages out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import grpc
import structlog
from google.protobuf.message import Message

from semcache.errors import InvalidRequestError, SemcacheError
from semcache.finance.savings import Savings, savings
from semcache.model import Deposit, Finished, Request, Started, Status, format_entry_id
from semcache.ports import Clock, Embedder, Store
from semcache.server.grpc.calls import Calls
from semcache.server.grpc.status import code_of
from semcache.server.grpc.wire import incoming, outgoing
from semcache.server.grpc.wire.answer import stored_answer
from semcache.server.grpc.wire.hits import HitMessages
from semcache.server.grpc.wire.savings import savings_query
from semcache.server.reports import Reports, savings_message
from semcache.settings import Settings
from semcache.story.cache import SemanticCache
from semcache.v1 import semcache_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

_log = structlog.get_logger(__name__)
SERVICE_NAME = pb.DESCRIPTOR.services_by_name["SemanticCacheService"].full_name
_LIST_PAGE = 256
BatchItem = TypeVar("BatchItem", bound=Message)
BatchResult = TypeVar("BatchResult", pb.LookupResult, pb.StoreResult)


class Service:
    """One method for each call; each gets the message and the caller's tenant."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        cache: SemanticCache,
        store: Store,
        embedder: Embedder,
        reports: Reports,
        hits: HitMessages,
        on_failure: Callable[[str], None],
    ) -> None:
        """`on_failure` is told the reason of each batch item that failed."""
        self._on_failure = on_failure
        self._settings = settings
        self._limits = settings.limits
        self._clock = clock
        self._cache = cache
        self._store = store
        self._embedder = embedder
        self._reports = reports
        self._hits = hits

    def handler(self, calls: Calls) -> grpc.GenericRpcHandler:
        """All calls, wrapped, to be added to a gRPC server."""
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "Complete": calls.repeating(pb.CompleteRequest, self.read_complete, self.complete),
                "CompleteStream": calls.streaming(pb.CompleteStreamRequest, self.complete_stream),
                "Lookup": calls.repeating(pb.LookupRequest, self.read_lookup, self.lookup),
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

    def read_complete(self, message: pb.CompleteRequest, tenant: str) -> Request:
        """What is asked of `complete`."""
        return incoming.complete_call(message, tenant=tenant, limits=self._limits)

    async def complete(self, request: Request) -> bytes:
        """See the proto, as for all that follow."""
        response = await self._cache.complete(request)
        if response.status is Status.EXACT_HIT:
            return self._hits.serialised(pb.CompleteResponse, response)
        return outgoing.complete_response(response).SerializeToString()

    async def complete_stream(
        self, message: pb.CompleteStreamRequest, tenant: str
    ) -> AsyncIterator[pb.CompleteStreamResponse]:
        """See the proto."""
        request = incoming.complete_call(message, tenant=tenant, limits=self._limits)
        async for frame in self._cache.stream(request):
            if isinstance(frame, bytes):
                yield outgoing.chunk(frame)
            elif isinstance(frame, Started):
                yield outgoing.started(frame.response)
            elif isinstance(frame, Finished):
                yield outgoing.finished(frame.response)

    def read_lookup(self, message: pb.LookupRequest, tenant: str) -> incoming.LookupCall:
        """What is asked of `lookup`."""
        return incoming.lookup_call(message, tenant=tenant)

    async def lookup(self, call: incoming.LookupCall) -> bytes:
        """See the proto."""
        longest_s = self._limits.lease_max_s
        lease_s = min(call.lease_ttl_s or longest_s, longest_s) if call.want_lease else None
        response, lookup_id, lease = await self._cache.lookup(call.request, lease_s)
        if response.status is Status.EXACT_HIT:
            return self._hits.serialised(pb.LookupResponse, response)
        left_s = lease.expires_s - self._clock.monotonic() if lease else 0.0
        return outgoing.lookup_response(
            response,
            lookup_id=lookup_id,
            lease_id=lease.lease_id if lease else "",
            lease_expires_s=self._clock.wall() + left_s,
        ).SerializeToString()

    async def store(self, message: pb.StoreRequest, tenant: str) -> pb.StoreResponse:
        """See the proto."""
        call = incoming.store_call(message, tenant=tenant, limits=self._limits)
        if call.request is not None:
            keyed = self._cache.key(call.request)
        else:
            keyed = self._cache.recall(tenant, call.lookup_id)
            keyed = replace(keyed, request=call.onto(keyed.request))
        now_s = self._clock.wall()
        answer = stored_answer(
            message,
            alias=keyed.alias,
            answer_id=f"chatcmpl-{keyed.exact_key.hex()[:24]}",
            now_s=now_s,
            max_bytes=self._limits.answer_bytes,
        )
        deposit = Deposit(
            keyed=keyed,
            answer=answer,
            lookup_id=call.lookup_id,
            lease_id=call.lease_id,
            vector=call.vector,
            fingerprint=call.embedder_fingerprint,
        )
        deposited = await self._cache.store(deposit)
        return outgoing.store_response(
            request_id=deposited.request_id, entry=deposited.entry, cost=deposited.cost, reason=deposited.reason
        )

    async def lookup_batch(self, message: pb.LookupBatchRequest, tenant: str) -> pb.LookupBatchResponse:
        """See the proto. An item waits for nobody's lease."""

        async def one(item: pb.LookupRequest, result: pb.LookupResult) -> None:
            call = incoming.lookup_call(item, tenant=tenant, in_batch=True)
            response, lookup_id, _ = await self._cache.lookup(call.request, waits=False)
            outgoing.fill_lookup(result.response, response, lookup_id=lookup_id)

        batch = pb.LookupBatchResponse()
        await self._each(message.requests, batch.results, one)
        return batch

    async def store_batch(self, message: pb.StoreBatchRequest, tenant: str) -> pb.StoreBatchResponse:
        """See the proto."""

        async def one(item: pb.StoreRequest, result: pb.StoreResult) -> None:
            result.response.CopyFrom(await self.store(item, tenant))

        batch = pb.StoreBatchResponse()
        await self._each(message.requests, batch.results, one)
        return batch

    async def explain(self, message: pb.ExplainRequest, tenant: str) -> pb.ExplainResponse:
        """See the proto."""
        explanation = await self._cache.explain(incoming.explain_call(message, tenant=tenant))
        return outgoing.explain_response(
            request_id=explanation.request_id,
            keyed=explanation.keyed,
            status=explanation.status,
            reason=explanation.reason,
            detail="",
            decision=explanation.decision,
            policy=self._settings.decision.policy,
            exact_entry_id=explanation.exact_entry_id,
            partition_entries=explanation.partition_entries,
            embedded_tokens=explanation.embedded_tokens,
            embedder_fingerprint=self._embedder.fingerprint,
            candidate_models=explanation.models,
            max_candidates=message.max_candidates,
            now_s=self._clock.wall(),
        )

    async def report_verdict(self, message: pb.ReportVerdictRequest, tenant: str) -> pb.ReportVerdictResponse:
        """See the proto."""
        call = incoming.verdict_call(message)
        served = await self._cache.report_verdict(tenant, call.hit_id, right=call.right)
        entries = await self._store.entries.get_many([served.entry_id])
        _log.info("verdict", hit_id=call.hit_id, right=call.right, judge=call.judge, note=call.note)
        return pb.ReportVerdictResponse(
            request_id=self._reports.new_id(),
            entry_id=format_entry_id(served.entry_id),
            removed=not call.right and served.entry_id not in entries,
            blocked=not call.right,
        )

    async def invalidate(self, message: pb.InvalidateRequest, tenant: str) -> pb.InvalidateResponse:
        """See the proto."""
        selector = incoming.selector(message, tenant=tenant, now_s=self._clock.wall(), limits=self._limits)
        count = await self._cache.invalidate(selector, apply=message.apply)
        if message.apply:
            _log.info("invalidated", tenant=tenant, entries=count)
        return pb.InvalidateResponse(
            request_id=self._reports.new_id(),
            matched_count=count,
            removed_count=count if message.apply else 0,
            generation=self._cache.generation,
        )

    async def list_entries(self, message: pb.ListEntriesRequest, tenant: str) -> AsyncIterator[pb.ListEntriesResponse]:
        """See the proto."""
        if message.limit < 0:
            raise InvalidRequestError("limit is negative.", hint="0 means the configured maximum.")
        left = min(message.limit or self._limits.list_entries, self._limits.list_entries)
        after = 0
        while left:
            page = await self._store.entries.page(tenant, after, _LIST_PAGE)
            if not page:
                return
            after = page[-1].entry_id
            for entry in page:
                if (
                    (not message.namespace or entry.namespace == message.namespace)
                    and (not message.tag or message.tag in entry.tags)
                    and (not message.model or entry.alias == message.model)
                    and left
                ):
                    left -= 1
                    yield pb.ListEntriesResponse(entry=outgoing.entry_message(entry))

    async def get_stats(self, message: pb.GetStatsRequest, tenant: str) -> pb.GetStatsResponse:
        """See the proto."""
        del message, tenant
        return self._reports.stats()

    async def get_savings(self, message: pb.GetSavingsRequest, tenant: str) -> pb.GetSavingsResponse:
        """See the proto."""
        now_s = self._clock.wall()
        reads_all = not self._settings.auth.enabled or tenant in self._settings.auth.read_all_savings
        query = savings_query(message, tenant=tenant, reads_all=reads_all, now_s=now_s)

        await self._store.ledger.flush()  # What the caller was told before is in what it is told now.

        def summed() -> Savings:
            whose = next(iter(query.tenants)) if query.tenants is not None and len(query.tenants) == 1 else None
            found = self._store.ledger.hours(whose, query.start_s, query.end_s)
            hours = (hour for hour in found if query.tenants is None or hour.tenant in query.tenants)
            return savings(hours, query.group_by, models=query.models, task_types=query.task_types)

        report = await asyncio.to_thread(summed)  # Years of hours take a second to read, and another to add up.
        return pb.GetSavingsResponse(
            request_id=self._reports.new_id(),
            start_time=outgoing.timestamp(query.start_s),
            end_time=outgoing.timestamp(query.end_s),
            rows=[savings_message(row) for row in report.rows],
            total=savings_message(report.total),
            durable_through=outgoing.timestamp(self._store.ledger.durable_through_s),
            budgets=self._reports.budgets(tenant),
        )

    async def _each(
        self,
        items: Sequence[BatchItem],
        results: RepeatedCompositeFieldContainer[BatchResult],
        one: Callable[[BatchItem, BatchResult], Awaitable[None]],
    ) -> None:
        """Adds a result for each item, in order, for `one` to fill where it stands; an item that fails fails alone."""
        if not 1 <= len(items) <= self._limits.batch_items:
            raise InvalidRequestError(
                f"A batch of {len(items)} items; it may have 1 to {self._limits.batch_items}.",
                reason="INVALID_BATCH_SIZE",
                hint="Split it, or raise limits.batch_items.",
            )

        async def guarded(item: BatchItem, result: BatchResult) -> None:
            try:
                await one(item, result)
            except SemcacheError as error:
                self._on_failure(error.reason)
                result.error.code = code_of(error).value[0]
                result.error.message = str(error)
                result.error.reason = error.reason

        await asyncio.gather(*[guarded(item, results.add()) for item in items])
