"""The whole matrix of statuses over real gRPC, LMDB and FAISS; and the counters' identity."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path

import grpc
import pytest

from semcache.errors import UpstreamRefusedError
from semcache.testing.clock import FakeClock
from semcache.testing.serving import serving
from semcache.testing.upstream import Scripted, ScriptedUpstream
from semcache.v1 import semcache_pb2 as pb
from tests.integration.calls import complete, control, counts, in_flight, prompt, reason_of, stream, streamed_text


async def test_a_request_a_repeat_a_rewording_and_a_trap() -> None:
    async with serving({"decision": {"threshold": 0.6}}) as served:
        first = await complete(served, "How do I reset my password please?")
        assert first.outcome.status == pb.STATUS_MISS
        assert first.outcome.reason == "empty_partition"
        assert first.outcome.stored
        assert first.text == "Answer to: How do I reset my password please?"
        assert first.outcome.cost.total_nanousd == 20 * 150 + 10 * 600  # gpt-4o-mini: $0.15 and $0.60 per million

        repeat = await complete(served, "How do I reset my password please?")
        assert repeat.outcome.status == pb.STATUS_EXACT_HIT
        assert repeat.openai_json == first.openai_json
        assert repeat.outcome.entry_id == first.outcome.entry_id
        assert repeat.outcome.cost.total_nanousd == 0
        assert repeat.outcome.saved.total_nanousd == first.outcome.cost.total_nanousd

        reworded = await complete(served, "How do I reset my password?")
        assert reworded.outcome.status == pb.STATUS_SEMANTIC_HIT
        assert reworded.outcome.entry_id == first.outcome.entry_id
        assert 0.6 <= reworded.outcome.similarity < 1
        assert reworded.outcome.effective_threshold == 0.6
        assert reworded.outcome.hit_id

        trap = await complete(served, "How do I reset my 2 password please?")
        assert trap.outcome.status == pb.STATUS_MISS
        assert trap.outcome.reason == "vetoed"
        vetoes = [v.guard for v in trap.outcome.guard_verdicts if v.action == pb.GUARD_ACTION_VETO]
        assert vetoes == ["numbers"]
        assert len(served.upstream.calls) == 2


async def test_every_mode_has_its_status_and_the_counts_add_up() -> None:
    answers = ScriptedUpstream(
        lambda call: Scripted(error=UpstreamRefusedError("no", http_status=400)) if b"refuse" in call.body else "ok"
    )
    async with serving(upstream=answers) as served:
        assert (await complete(served, "one")).outcome.status == pb.STATUS_MISS
        assert (await complete(served, "one")).outcome.status == pb.STATUS_EXACT_HIT
        assert (await complete(served, "one", control=control(pb.CACHE_MODE_BYPASS))).outcome.status == pb.STATUS_BYPASS
        assert (
            await complete(served, "one", control=control(pb.CACHE_MODE_REFRESH))
        ).outcome.status == pb.STATUS_REFRESH
        assert (
            await complete(served, "one", control=control(pb.CACHE_MODE_CACHE_ONLY))
        ).outcome.status == pb.STATUS_EXACT_HIT
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            await complete(served, "other", control=control(pb.CACHE_MODE_CACHE_ONLY))
        assert missing.value.code() == grpc.StatusCode.NOT_FOUND
        assert reason_of(missing.value) == "CACHE_ONLY_MISS"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await complete(served, "refuse this")
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert reason_of(refused.value) == "UPSTREAM_REFUSED"
        lookup = await served.stub.Lookup(pb.LookupRequest(prompt=prompt("one")))
        assert lookup.outcome.status == pb.STATUS_EXACT_HIT
        tally = await counts(served)
        assert (tally.miss, tally.exact_hit, tally.bypass, tally.refresh, tally.error) == (2, 3, 1, 1, 1)
        assert tally.total == 8
        stats = await served.stub.GetStats(pb.GetStatsRequest())
        assert stats.hit_ratio == pytest.approx(3 / 5)


async def test_a_refresh_replaces_the_entry() -> None:
    texts = iter(["old", "new"])
    async with serving(upstream=ScriptedUpstream(lambda _: next(texts))) as served:
        await complete(served, "one")
        await complete(served, "one", control=control(pb.CACHE_MODE_REFRESH))
        assert (await complete(served, "one")).text == "new"
        assert (await served.stub.GetStats(pb.GetStatsRequest())).entries == 1


async def test_no_store_reads_but_keeps_nothing() -> None:
    async with serving() as served:
        answer = await complete(served, "one", control=control(no_store=True))
        assert (answer.outcome.stored, answer.outcome.store_skipped_reason) == (False, "no_store")
        assert (await complete(served, "one")).outcome.status == pb.STATUS_MISS
        assert (await complete(served, "one", control=control(no_store=True))).outcome.status == pb.STATUS_EXACT_HIT


@pytest.mark.parametrize(
    ("scripted", "reason"),
    [
        (Scripted("cut", finish_reason="length"), "incomplete"),
        (Scripted("", finish_reason="content_filter"), "filtered"),
        (Scripted("", finish_reason="stop"), "empty"),
        (Scripted(finish_reason="tool_calls", tool_calls=({"id": "1", "type": "function"},)), "tool_calls"),
    ],
)
async def test_what_is_not_a_whole_answer_is_never_stored(scripted: Scripted, reason: str) -> None:
    async with serving(upstream=ScriptedUpstream(lambda _: scripted)) as served:
        answer = await complete(served, "one")
        assert (answer.outcome.stored, answer.outcome.store_skipped_reason) == (False, reason)
        assert (await complete(served, "one")).outcome.status == pb.STATUS_MISS


async def test_an_answer_cut_by_the_callers_own_limit_is_whole() -> None:
    upstream = ScriptedUpstream(lambda _: Scripted("cut", finish_reason="length"))
    async with serving(upstream=upstream) as served:
        assert (await complete(served, "one", max_tokens=5)).outcome.stored


async def test_conversations_with_one_last_message_share_nothing() -> None:
    async with serving({"decision": {"threshold": -1.0}}) as served:
        await complete(served, "cancel it", history=("My gym membership", "Cancel or freeze?"))
        other = await complete(served, "cancel it", history=("My phone plan", "Cancel or change?"))
        assert other.outcome.status == pb.STATUS_MISS
        same = await complete(served, "cancel it please", history=("My phone plan", "Cancel or change?"))
        assert same.outcome.status == pb.STATUS_SEMANTIC_HIT


async def test_identical_requests_in_flight_share_one_upstream_call() -> None:
    gate = asyncio.Event()
    upstream = ScriptedUpstream(lambda _: Scripted("shared", gate=gate))
    async with serving(upstream=upstream) as served:
        waiting = [asyncio.create_task(complete(served, "one")) for _ in range(5)]
        await upstream.called()
        await in_flight(served, 5)
        gate.set()
        answers = await asyncio.gather(*waiting)
        assert sorted(a.outcome.status for a in answers) == sorted([pb.STATUS_MISS] + [pb.STATUS_COALESCED] * 4)
        assert len(upstream.calls) == 1
        spent = sum(a.outcome.cost.total_nanousd for a in answers)
        saved = sum(a.outcome.saved.total_nanousd for a in answers)
        assert saved == 4 * spent > 0


async def test_streamed_and_plain_answers_meet_in_one_cache() -> None:
    async with serving() as served:
        live = await stream(served, "Tell me a story")
        assert [frame.WhichOneof("frame") for frame in live][:: len(live) - 1] == ["started", "finished"]
        assert live[0].started.outcome.status == live[-1].finished.outcome.status == pb.STATUS_MISS
        plain = await complete(served, "Tell me a story")
        assert plain.outcome.status == pb.STATUS_EXACT_HIT
        assert plain.text == streamed_text(live) == "Answer to: Tell me a story"

        await complete(served, "And another")
        replayed = await stream(served, "And another")
        assert replayed[0].started.outcome.status == pb.STATUS_EXACT_HIT
        assert streamed_text(replayed) == "Answer to: And another"
        assert len(served.upstream.calls) == 2


@pytest.mark.parametrize("asked", [True, False])
async def test_the_usage_chunk_comes_to_those_who_asked(asked: bool) -> None:
    async with serving() as served:
        options = {"stream_options": {"include_usage": True}} if asked else {}
        for _ in ("live", "replayed"):
            frames = await stream(served, "Tell me a story", **options)
            chunks = [json.loads(frame.chunk.openai_json) for frame in frames if frame.HasField("chunk")]
            assert any(not chunk["choices"] for chunk in chunks) == asked
            assert frames[-1].finished.outcome.usage.output_tokens == 10


async def test_a_follower_joins_a_stream_late_and_another_leaves_early() -> None:
    gate = asyncio.Event()
    script = Scripted(pieces=("a ", "b ", "c"), piece_gates=(None, None, gate))
    upstream = ScriptedUpstream(lambda _: script)
    async with serving(upstream=upstream) as served:
        request = pb.CompleteStreamRequest(prompt=prompt("one"))
        leader = served.stub.CompleteStream(request)
        assert (await leader.read()).started.outcome.status == pb.STATUS_MISS
        await leader.read()
        late = asyncio.create_task(stream(served, "one"))
        plain = asyncio.create_task(complete(served, "one"))
        await in_flight(served, 3)
        leader.cancel()
        await in_flight(served, 2)
        gate.set()
        frames, whole = await late, await plain
        assert frames[0].started.outcome.status == pb.STATUS_COALESCED
        assert streamed_text(frames) == whole.text == "a b c"
        assert len(upstream.calls) == 1
        assert (await complete(served, "one")).outcome.status == pb.STATUS_EXACT_HIT
        tally = await counts(served)
        assert (tally.cancelled, tally.coalesced, tally.exact_hit, tally.total) == (1, 2, 1, 4)
        # The leader's call was charged though the leader had left.
        savings = await served.stub.GetSavings(pb.GetSavingsRequest())
        assert savings.total.spent_nanousd == 20 * 150 + 10 * 600


async def test_half_a_stream_is_an_error_and_is_not_stored() -> None:
    upstream = ScriptedUpstream(lambda _: Scripted(pieces=("a ", "b "), break_after=2))
    async with serving(upstream=upstream) as served:
        with pytest.raises(grpc.aio.AioRpcError) as broken:
            await stream(served, "one")
        assert broken.value.code() == grpc.StatusCode.UNAVAILABLE
        upstream.answers = {}
        assert (await complete(served, "one")).outcome.status == pb.STATUS_MISS
        tally = await counts(served)
        assert (tally.error, tally.miss) == (1, 1)


async def test_what_an_abandoned_stream_cost_is_booked_as_an_estimate() -> None:
    upstream = ScriptedUpstream(lambda _: Scripted(pieces=("a ", "b "), break_after=2))
    async with serving(upstream=upstream) as served:
        with pytest.raises(grpc.aio.AioRpcError):
            await stream(served, "one")
        savings = await served.stub.GetSavings(pb.GetSavingsRequest())
        assert savings.total.estimated_count == 1
        assert savings.total.spent_nanousd > 0


async def test_a_body_is_forwarded_byte_for_byte() -> None:
    raw = b'{ "messages":[{"role":"user","content":"caf\\u00e9 3.0"}],"temperature":0.10,\n"model":"gpt-4o-mini" }'
    async with serving() as served:
        await served.stub.Complete(pb.CompleteRequest(prompt=pb.Prompt(openai_json=raw)))
        assert served.upstream.calls[0].body == raw


async def test_max_age_refuses_an_older_entry() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as served:
        await complete(served, "one")
        clock.advance(60)
        young = control()
        young.max_age.FromSeconds(30)
        old = control()
        old.max_age.FromSeconds(90)
        assert (await complete(served, "one", control=old)).outcome.status == pb.STATUS_EXACT_HIT
        assert (await complete(served, "one", control=young)).outcome.status == pb.STATUS_MISS


async def test_an_entry_expires_and_a_hit_does_not_prolong_it() -> None:
    clock = FakeClock()
    async with serving({"cacheability": {"ttl_s": 100.0}}, clock=clock) as served:
        await complete(served, "one")
        clock.advance(90)
        assert (await complete(served, "one")).outcome.status == pb.STATUS_EXACT_HIT
        clock.advance(20)
        assert (await complete(served, "one")).outcome.status == pb.STATUS_MISS


async def test_a_hit_needs_its_model_to_be_routed_still() -> None:
    async with serving(upstream=ScriptedUpstream(models={"fast": "mini-1"})) as served:
        await complete(served, "one", model="fast")
        assert (await complete(served, "one", model="fast")).outcome.status == pb.STATUS_EXACT_HIT
        served.upstream.routes = {"fast": "mini-2"}
        assert (await complete(served, "one", model="fast")).outcome.status == pb.STATUS_MISS


async def test_an_entry_survives_a_restart(tmp_path: Path) -> None:
    async with serving({"decision": {"threshold": 0.6}}, path=tmp_path) as served:
        await complete(served, "How do I reset my password please?")
    async with serving({"decision": {"threshold": 0.6}}, path=tmp_path) as served:
        again = await complete(served, "How do I reset my password?")
        assert again.outcome.status == pb.STATUS_SEMANTIC_HIT


async def test_explain_says_what_would_happen_and_counts_nothing() -> None:
    async with serving({"decision": {"threshold": 0.6}}) as served:
        await complete(served, "How do I reset my password please?")
        told = await served.stub.Explain(pb.ExplainRequest(prompt=prompt("How do I reset my 2 password please?")))
        assert told.status == pb.STATUS_MISS
        assert told.reason == "vetoed"
        assert told.partition_entries == 1
        assert [candidate.reason for candidate in told.candidates] == ["vetoed"]
        assert (await counts(served)).total == 1


@pytest.mark.parametrize("mode", [pb.CACHE_MODE_DEFAULT, pb.CACHE_MODE_BYPASS, pb.CACHE_MODE_REFRESH])
@pytest.mark.parametrize("text", ["one", "another", "What's the weather right now?"])
async def test_explain_says_what_complete_then_does(mode: pb.CacheMode.ValueType, text: str) -> None:
    async with serving() as served:
        await complete(served, "one")
        told = await served.stub.Explain(pb.ExplainRequest(prompt=prompt(text), control=control(mode)))
        done = (await complete(served, text, control=control(mode))).outcome
        assert (told.status, told.reason) == (done.status, done.reason)


async def test_list_entries_filters() -> None:
    async with serving() as served:
        for number in range(3):
            await complete(served, f"prompt {number}", tags=["even" if number % 2 == 0 else "odd"])
        listed = [entry async for entry in served.stub.ListEntries(pb.ListEntriesRequest(tag="even"))]
        assert [item.entry.text for item in listed] == ["prompt 0", "prompt 2"]
        limited = [entry async for entry in served.stub.ListEntries(pb.ListEntriesRequest(limit=1))]
        assert len(limited) == 1


async def test_a_failed_call_is_counted_once_by_its_reason() -> None:
    upstream = ScriptedUpstream(lambda _: Scripted(error=UpstreamRefusedError("no", http_status=400)))
    async with serving(upstream=upstream) as served:
        with pytest.raises(grpc.aio.AioRpcError):
            await complete(served, "one")
        bad = pb.LookupRequest(prompt=pb.Prompt(openai_json=b"{"))
        await served.stub.LookupBatch(pb.LookupBatchRequest(requests=[bad]))
        url = f"http://127.0.0.1:{served.application.metrics_port}/metrics"
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode())
        told = [line for line in page.splitlines() if line.startswith("semcache_errors_total")]
        assert told == [
            'semcache_errors_total{reason="INVALID_JSON"} 1.0',
            'semcache_errors_total{reason="UPSTREAM_REFUSED"} 1.0',
        ]
