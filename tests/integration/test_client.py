"""Tests both clients against a real server."""

import asyncio
import threading

import grpc
import pytest

from semcache import Client, ClientError, Status, SyncClient
from semcache.errors import UpstreamError
from semcache.testing.serving import serving
from semcache.testing.upstream import Scripted, ScriptedUpstream

ASKED = {"model": "gpt-4o-mini", "prompt": "What is a semantic cache?"}


@pytest.fixture
async def served():
    async with serving() as running:
        yield running


@pytest.fixture
async def client(served):
    async with Client(served.address) as connected:
        yield connected


async def test_five_lines_answer_from_the_cache(served):
    async with Client(served.address) as client:
        first = await client.complete(**ASKED)
        again = await client.complete(**ASKED)
    assert (first.status, again.status) == (Status.MISS, Status.EXACT_HIT)
    assert first.text == again.text == "Answer to: What is a semantic cache?"
    assert again.json()["choices"][0]["message"]["content"] == again.text
    assert (first.hit, again.hit) == (False, True)
    assert again.saved_usd == first.cost_usd > 0
    assert again.entry_id == first.entry_id
    assert again.age is not None


async def test_a_stream_comes_in_pieces_with_its_outcome_at_the_end(served, client):
    served.upstream.answers = {ASKED["prompt"]: Scripted(pieces=("One ", "", "answer."))}
    stream = client.stream(**ASKED)
    assert stream.outcome is None
    pieces = [piece async for piece in stream]
    assert pieces == ["One ", "answer."]
    assert stream.text == "One answer."
    assert stream.finished
    assert stream.outcome.cost.total_nanousd > 0
    async with client.stream(**ASKED) as replay:
        chunks = [chunk async for chunk in replay.chunks()]
    assert replay.text == stream.text
    assert b"chat.completion.chunk" in chunks[0]


async def test_leaving_a_stream_ends_the_call(served):
    gate = asyncio.Event()
    served.upstream.answers = {ASKED["prompt"]: Scripted(pieces=("a", "b"), piece_gates=(None, None, gate))}
    async with Client(served.address) as client:
        async with client.stream(**ASKED) as stream:
            async for piece in stream:
                assert piece == "a"
                break
        assert not stream.finished
        assert stream.text == "a"
        assert await _settled(client, lambda stats: _calls(stats) == 1)  # Only this one is left.
        gate.set()  # The leader is counted only when the upstream call ends.
        assert await _settled(client, lambda stats: stats.requests.cancelled == 1)


async def _settled(client, holds):
    for _ in range(10_000):  # Bounded: the server notices the disconnection soon.
        if holds(await client.stats()):
            return True
    return False


def _calls(stats):
    return next(queue.depth for queue in stats.queues if queue.name == "calls")


async def test_look_aside_with_a_lease(client):
    missed = await client.lookup(**ASKED, want_lease=True, lease_ttl=5)
    assert (missed.status, missed.text, missed.json()) == (Status.MISS, "", {})
    assert missed.lease_id
    stored = await client.store(
        lookup_id=missed.lookup_id, lease_id=missed.lease_id, answer="An answer.", input_tokens=9, output_tokens=3
    )
    assert stored.stored
    assert stored.cost_usd > 0
    found = await client.lookup(**ASKED)
    assert (found.text, found.entry_id) == ("An answer.", stored.entry_id)


async def test_batches_keep_order_and_failures(client):
    stored = await client.store_batch(
        [{"model": "m", "prompt": f"question {n}", "answer": f"answer {n}"} for n in range(3)]
        + [{"model": "m", "prompt": "x", "answer": "y", "ttl": -1}]
    )
    assert [item.stored for item in stored[:3]] == [True, True, True]
    assert (stored[3].code, stored[3].reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_TTL")
    found = await client.lookup_batch([{"model": "m", "prompt": f"question {n}"} for n in (2, 0)])
    assert [item.text for item in found] == ["answer 2", "answer 0"]


async def test_a_wrong_hit_is_reported_and_explained(client):
    await client.complete(**ASKED)
    hit = await client.complete(**ASKED)
    verdict = await client.report_verdict(hit.hit_id, right=False, judge="test", note="not that")
    assert (verdict.blocked, verdict.entry_id) == (True, hit.entry_id)
    explained = await client.explain(**ASKED, max_candidates=1)
    assert explained.requested_model == "gpt-4o-mini"
    assert len(explained.candidates) <= 1


async def test_housekeeping(client):
    await client.complete(**ASKED, tags=["a"], namespace="shop")
    entries = [entry async for entry in client.list_entries(namespace="shop", tag="a")]
    assert [entry.tags for entry in entries] == [["a"]]
    assert (await client.invalidate(tags=["a"])).matched_count == 1
    assert (await client.invalidate(entry_ids=[entries[0].entry_id], apply=True)).removed_count == 1
    assert (await client.stats()).requests.miss == 1
    savings = await client.savings(group_by=["model"])
    assert savings.total.spent_nanousd == sum(row.spent_nanousd for row in savings.rows) > 0


async def test_the_servers_reason_arrives(client, served):
    with pytest.raises(ClientError) as raised:
        await client.complete(**ASKED, ttl=-1)
    assert (raised.value.code, raised.value.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_TTL")
    assert isinstance(raised.value.__cause__, grpc.RpcError)

    def refused(call):
        raise UpstreamError("The upstream answered 429.", http_status=429, retry_after_s=7.0)

    served.upstream.answers = refused
    for ask in (client.complete(**ASKED), anext(aiter(client.stream(**ASKED)))):
        with pytest.raises(ClientError) as raised:
            await ask
        assert (raised.value.code, raised.value.retry_after_s) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 7.0)
        assert raised.value.metadata["http_status"] == "429"


async def test_a_call_ends_at_its_timeout():
    upstream = ScriptedUpstream(lambda _: Scripted(gate=asyncio.Event()))
    async with (
        serving({"upstream": {"deadline_s": 0.2}}, upstream=upstream) as served,
        Client(served.address) as client,
    ):
        with pytest.raises(ClientError) as raised:
            await client.complete(**ASKED, timeout_s=0.05)
        assert raised.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_nobody_there_is_one_sentence():
    async with Client("127.0.0.1:1") as client:
        with pytest.raises(ClientError) as raised:
            await client.stats()
    assert raised.value.reason == "UNREACHABLE"
    assert "127.0.0.1:1" in raised.value.message
    assert "semcache serve" in raised.value.hint


async def test_the_sync_client_makes_the_same_calls(served):
    def use():
        with SyncClient(served.address) as client:
            first = client.complete(**ASKED)
            with client.stream(**ASKED) as stream:
                text = "".join(stream)
            assert text == first.text == stream.text
            assert b"".join(client.stream(**ASKED).chunks())
            assert client.lookup(**ASKED).hit
            assert client.store(model="m", prompt="q", answer="a").stored
            assert client.store_batch([{"model": "m", "prompt": "q2", "answer": "a"}])[0].stored
            assert client.lookup_batch([{"model": "m", "prompt": "q"}])[0].text == "a"
            assert client.explain(model="m", prompt="q").requested_model == "m"
            assert client.report_verdict(client.complete(**ASKED).hit_id, right=True).blocked is False
            assert len(list(client.list_entries())) == 3
            assert client.invalidate(everything=True, apply=True).removed_count == 3
            assert client.stats().requests.total > 3
            assert client.savings().total.spent_nanousd > 0
            with pytest.raises(ClientError, match="ttl is not above 0"):
                client.complete(**ASKED, ttl=-1)
            with pytest.raises(ClientError, match="ttl is not above 0"):
                list(client.stream(**ASKED, ttl=-1))
        return threading.current_thread()

    assert await asyncio.to_thread(use) is not threading.current_thread()
