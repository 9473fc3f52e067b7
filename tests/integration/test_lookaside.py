"""Lookup, Store, leases, batches, verdicts and invalidation over real gRPC."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import grpc
import pytest

from semcache.testing.clock import FakeClock
from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream
from semcache.v1 import semcache_pb2 as pb
from tests.integration.calls import complete, control, counts, in_flight, prompt, reason_of

LAX = {"decision": {"threshold": 0.6}}


async def lookup(served: Served, text: str, **fields: object) -> pb.LookupResponse:
    return await served.stub.Lookup(pb.LookupRequest(prompt=prompt(text), **fields))  # type: ignore[arg-type]


async def store(served: Served, text: str = "", **fields: object) -> pb.StoreResponse:
    asked = {"prompt": prompt(text)} if text else {}
    answer = {} if "openai_json" in fields else {"text": "mine"}
    return await served.stub.Store(pb.StoreRequest(**asked, **answer, **fields))  # type: ignore[arg-type]


async def test_a_stored_answer_is_found_exactly_and_by_meaning() -> None:
    async with serving(LAX) as served:
        missed = await lookup(served, "How do I reset my password please?")
        assert (missed.outcome.status, missed.text) == (pb.STATUS_MISS, "")
        usage = pb.Usage(input_tokens=100, output_tokens=50)
        stored = await store(served, lookup_id=missed.lookup_id, usage=usage, served_model="gpt-4o-mini")
        assert stored.stored
        assert stored.cost.total_nanousd == 100 * 150 + 50 * 600
        exact = await lookup(served, "How do I reset my password please?")
        assert (exact.outcome.status, exact.text) == (pb.STATUS_EXACT_HIT, "mine")
        assert exact.outcome.saved.total_nanousd == stored.cost.total_nanousd
        near = await lookup(served, "How do I reset my password?")
        assert near.outcome.status == pb.STATUS_SEMANTIC_HIT
        tally = await counts(served)
        assert (tally.miss, tally.exact_hit, tally.semantic_hit, tally.total) == (1, 1, 1, 3)
        savings = await served.stub.GetSavings(pb.GetSavingsRequest())
        assert savings.total.spent_nanousd == stored.cost.total_nanousd
        assert savings.total.requests.total == 3


async def test_a_lookup_id_spares_the_second_embedding() -> None:
    async with serving(LAX) as served:
        await store(served, "Something else entirely")
        missed = await lookup(served, "How do I reset my password?")
        served.embedder.fail_next()
        assert (await store(served, lookup_id=missed.lookup_id)).stored
        told = await served.stub.Explain(pb.ExplainRequest(prompt=prompt("x")))  # The failure is still ahead.
        assert told.status == pb.STATUS_MISS


async def test_a_lookup_id_must_fit_the_prompt() -> None:
    async with serving() as served:
        missed = await lookup(served, "one")
        with pytest.raises(grpc.aio.AioRpcError) as wrong:
            await store(served, "two", lookup_id=missed.lookup_id)
        assert reason_of(wrong.value) == "LOOKUP_MISMATCH"
        with pytest.raises(grpc.aio.AioRpcError) as forgotten:
            await store(served, lookup_id="nobody's")
        assert forgotten.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(forgotten.value) == "LOOKUP_FORGOTTEN"
        assert (await store(served, "three", lookup_id="nobody's")).stored


async def test_others_wait_for_the_holder_of_a_lease() -> None:
    async with serving() as served:
        holder = await lookup(served, "one", want_lease=True)
        assert holder.lease.lease_id
        waiting = asyncio.create_task(lookup(served, "one", want_lease=True))
        await in_flight(served, 1)
        assert not waiting.done()
        await store(served, lookup_id=holder.lookup_id, lease_id=holder.lease.lease_id)
        assert (await waiting).outcome.status == pb.STATUS_EXACT_HIT


async def test_a_lease_that_ended_passes_on_and_stores_nothing() -> None:
    async with serving() as served:
        request = pb.LookupRequest(prompt=prompt("one"), want_lease=True)
        request.lease_ttl.FromMilliseconds(20)
        first = await served.stub.Lookup(request)
        second = await lookup(served, "one", want_lease=True)
        assert second.lease.lease_id not in {"", first.lease.lease_id}
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await store(served, lookup_id=first.lookup_id, lease_id=first.lease.lease_id)
        assert late.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(late.value) == "LEASE_EXPIRED"
        assert (await served.stub.GetStats(pb.GetStatsRequest())).entries == 0


async def test_a_batch_has_a_status_for_each_item() -> None:
    async with serving() as served:
        good = pb.StoreRequest(prompt=prompt("one"), text="1")
        bad = pb.StoreRequest(prompt=pb.Prompt(openai_json=b"{"), text="2")
        stored = await served.stub.StoreBatch(pb.StoreBatchRequest(requests=[good, bad]))
        assert [result.WhichOneof("result") for result in stored.results] == ["response", "error"]
        assert stored.results[1].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert stored.results[1].error.reason == "INVALID_JSON"
        asked = [pb.LookupRequest(prompt=prompt(text)) for text in ("one", "two")]
        found = await served.stub.LookupBatch(pb.LookupBatchRequest(requests=asked))
        assert [result.response.outcome.status for result in found.results] == [pb.STATUS_EXACT_HIT, pb.STATUS_MISS]
        for size in (0, 257):
            with pytest.raises(grpc.aio.AioRpcError) as wrong:
                await served.stub.LookupBatch(pb.LookupBatchRequest(requests=asked[:1] * size))
            assert reason_of(wrong.value) == "INVALID_BATCH_SIZE"


async def test_a_callers_embedding_is_used_when_it_is_the_servers_kind() -> None:
    async with serving(LAX) as served:
        values = served.embedder.vector("How do I reset my password please?").tolist()
        mine = pb.Embedding(values=values, embedder_fingerprint=served.embedder.fingerprint)
        await store(served, "How do I reset my password please?", embedding=mine)
        assert (await lookup(served, "How do I reset my password?")).outcome.status == pb.STATUS_SEMANTIC_HIT
        for wrong in (
            pb.Embedding(values=values, embedder_fingerprint="another"),
            pb.Embedding(values=[*values, 1.0], embedder_fingerprint=served.embedder.fingerprint),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await store(served, "two", embedding=wrong)
            assert reason_of(refused.value) == "FINGERPRINT_MISMATCH"


async def test_only_a_credential_with_the_right_may_send_embeddings() -> None:
    keys = [
        {"tenant": "acme", "sha256": hashlib.sha256(shown.encode()).hexdigest(), **fields}
        for shown, fields in (("plain", {}), ("own", {"own_embeddings": True}))
    ]
    async with serving({"auth": {"enabled": True, "keys": keys}}) as served:
        vector = served.embedder.vector("one").tolist()
        mine = pb.Embedding(values=vector, embedder_fingerprint=served.embedder.fingerprint)
        message = pb.StoreRequest(prompt=prompt("one"), text="1", embedding=mine)
        for shown in ("plain", "own"):
            metadata = (("x-api-key", shown),)
            batch = await served.stub.StoreBatch(pb.StoreBatchRequest(requests=[message]), metadata=metadata)
            assert batch.results[0].error.reason == ("EMBEDDING_NOT_ALLOWED" if shown == "plain" else "")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await served.stub.Store(message, metadata=(("x-api-key", "plain"),))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert reason_of(refused.value) == "EMBEDDING_NOT_ALLOWED"


async def test_an_embedding_of_another_text_is_refused_when_it_is_checked() -> None:
    async with serving({"embedding": {"given_sample_ratio": 1.0}}) as served:
        for text, reason in (("one", ""), ("quite another text", "EMBEDDING_MISMATCH")):
            values = served.embedder.vector(text).tolist()
            mine = pb.Embedding(values=values, embedder_fingerprint=served.embedder.fingerprint)
            if not reason:
                assert (await store(served, "one", embedding=mine)).stored
                continue
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await store(served, "two", embedding=mine)
            assert reason_of(refused.value) == reason
        assert (await lookup(served, "two")).outcome.status == pb.STATUS_MISS


async def test_a_wrong_hit_is_not_served_to_such_a_request_again_even_after_a_restart(tmp_path: Path) -> None:
    async with serving(LAX, path=tmp_path) as served:
        await complete(served, "How do I reset my password please?")
        wrong = await complete(served, "How do I reset my password?")
        assert wrong.outcome.status == pb.STATUS_SEMANTIC_HIT
        verdict = pb.ReportVerdictRequest(hit_id=wrong.outcome.hit_id, verdict=pb.VERDICT_WRONG)
        told = await served.stub.ReportVerdict(verdict)
        assert (told.entry_id, told.blocked, told.removed) == (wrong.outcome.entry_id, True, False)
        refused = await lookup(served, "How do I reset my password?")
        assert (refused.outcome.status, refused.outcome.reason) == (pb.STATUS_MISS, "blocked")
        assert (await lookup(served, "How do I reset my password please?")).outcome.status == pb.STATUS_EXACT_HIT
    async with serving(LAX, path=tmp_path) as served:
        assert (await lookup(served, "How do I reset my password?")).outcome.reason == "blocked"


async def test_a_wrong_exact_hit_removes_the_entry() -> None:
    async with serving() as served:
        await complete(served, "one")
        hit = await complete(served, "one")
        verdict = pb.ReportVerdictRequest(hit_id=hit.outcome.hit_id, verdict=pb.VERDICT_WRONG)
        assert (await served.stub.ReportVerdict(verdict)).removed
        assert (await lookup(served, "one")).outcome.status == pb.STATUS_MISS


async def test_a_right_verdict_changes_nothing_and_is_counted() -> None:
    async with serving() as served:
        await complete(served, "one")
        hit = await complete(served, "one")
        await served.stub.ReportVerdict(pb.ReportVerdictRequest(hit_id=hit.outcome.hit_id, verdict=pb.VERDICT_RIGHT))
        assert (await lookup(served, "one")).outcome.status == pb.STATUS_EXACT_HIT
        assert (await served.stub.GetStats(pb.GetStatsRequest())).verdicts_right == 1


async def test_an_unknown_hit_has_no_verdict() -> None:
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await served.stub.ReportVerdict(pb.ReportVerdictRequest(hit_id="nobody", verdict=pb.VERDICT_WRONG))
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
        assert reason_of(unknown.value) == "HIT_NOT_FOUND"


@pytest.mark.parametrize(
    "selector",
    [
        {"tags": ["red"]},
        {"sources": ["handbook"]},
        {"namespace": "default", "tags": ["red"]},
        {"model": "gpt-4o-mini", "sources": ["handbook"]},
    ],
)
async def test_an_invalidation_removes_what_it_names_and_by_default_only_counts(selector: dict[str, object]) -> None:
    async with serving() as served:
        await complete(served, "one", tags=["red"], sources=["handbook"])
        await complete(served, "two", tags=["blue"])
        dry = await served.stub.Invalidate(pb.InvalidateRequest(**selector))  # type: ignore[arg-type]
        assert (dry.matched_count, dry.removed_count) == (1, 0)
        assert (await lookup(served, "one")).outcome.status == pb.STATUS_EXACT_HIT
        done = await served.stub.Invalidate(pb.InvalidateRequest(apply=True, **selector))  # type: ignore[arg-type]
        assert (done.matched_count, done.removed_count) == (1, 1)
        assert (await lookup(served, "one")).outcome.status == pb.STATUS_MISS
        assert (await lookup(served, "two")).outcome.status == pb.STATUS_EXACT_HIT


async def test_an_invalidation_by_entry_and_by_age() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as served:
        first = await complete(served, "one")
        clock.advance(100)
        await complete(served, "two")
        request = pb.InvalidateRequest(apply=True)
        request.older_than.FromSeconds(50)
        assert (await served.stub.Invalidate(request)).removed_count == 1
        gone = pb.InvalidateRequest(apply=True, entry_ids=[first.outcome.entry_id])
        assert (await served.stub.Invalidate(gone)).matched_count == 0
        assert (await served.stub.Invalidate(pb.InvalidateRequest(apply=True, all=True))).removed_count == 1


async def test_an_invalidation_that_names_nothing_is_refused() -> None:
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await served.stub.Invalidate(pb.InvalidateRequest(apply=True))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_an_answer_in_flight_during_an_invalidation_is_not_stored() -> None:
    gate = asyncio.Event()
    async with serving(upstream=ScriptedUpstream(lambda _: Scripted("stale", gate=gate))) as served:
        waiting = asyncio.create_task(complete(served, "one", tags=["red"]))
        await served.upstream.called()
        await served.stub.Invalidate(pb.InvalidateRequest(apply=True, tags=["red"]))
        gate.set()
        answer = await waiting
        assert (answer.outcome.stored, answer.outcome.store_skipped_reason) == (False, "invalidated")
        assert (await lookup(served, "one")).outcome.status == pb.STATUS_MISS


async def test_an_answer_in_flight_that_an_invalidation_does_not_name_is_stored() -> None:
    gate = asyncio.Event()
    async with serving(upstream=ScriptedUpstream(lambda _: Scripted("fresh", gate=gate))) as served:
        waiting = asyncio.create_task(complete(served, "one", tags=["red"]))
        await served.upstream.called()
        await served.stub.Invalidate(pb.InvalidateRequest(apply=True, tags=["blue"]))
        gate.set()
        assert (await waiting).outcome.stored


async def test_no_response_stays_in_memory_of_an_entry_that_is_gone() -> None:
    async with serving() as served:
        kept = served.application.composition.service.hits
        await complete(served, "one")
        hit = await complete(served, "one")
        await lookup(served, "one")
        assert hit.outcome.status == pb.STATUS_EXACT_HIT
        assert kept.size_bytes > 0
        await served.stub.Invalidate(pb.InvalidateRequest(apply=True, entry_ids=[hit.outcome.entry_id]))
        assert kept.size_bytes == 0
        await complete(served, "one")
        hit = await complete(served, "one")
        assert kept.size_bytes > 0
        await served.stub.ReportVerdict(pb.ReportVerdictRequest(hit_id=hit.outcome.hit_id, verdict=pb.VERDICT_WRONG))
        assert kept.size_bytes == 0


async def test_what_may_not_be_cached_is_a_bypass() -> None:
    async with serving() as served:
        found = await lookup(served, "What's the weather right now?")
        assert (found.outcome.status, found.lookup_id) == (pb.STATUS_BYPASS, "")
        stored = await store(served, "What's the weather right now?")
        assert (stored.stored, stored.reason) == (False, "time_sensitive")


@pytest.mark.parametrize("mode", [pb.CACHE_MODE_BYPASS, pb.CACHE_MODE_REFRESH])
async def test_a_lookup_that_does_not_look_is_refused(mode: pb.CacheMode.ValueType) -> None:
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await lookup(served, "one", control=control(mode))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
