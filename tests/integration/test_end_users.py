"""End users of one tenant: each has a cache of its own, unless the operator says that they share."""

from __future__ import annotations

import asyncio

import pytest

from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream
from semcache.v1 import semcache_pb2 as pb
from tests.integration.calls import complete, counts, in_flight, prompt, stream, streamed_text

QUESTION = "What is the balance of the account?"
REWORDED = "What is the balance of the account"
SHARED = {"cacheability": {"per_end_user": False}}


def answers_for(served: Served, name: str) -> None:
    served.upstream.answers = lambda _: f"{name}'s balance"


@pytest.mark.parametrize("name", ["user", "safety_identifier"])
async def test_bob_is_never_served_alices_answer(name: str) -> None:
    async with serving() as served:
        answers_for(served, "alice")
        await complete(served, QUESTION, **{name: "alice"})
        answers_for(served, "bob")
        assert (await complete(served, QUESTION, **{name: "bob"})).text == "bob's balance"
        assert (await complete(served, REWORDED, **{name: "bob"})).text == "bob's balance"
        assert streamed_text(await stream(served, QUESTION, **{name: "carol"})) == "bob's balance"
        mine = await complete(served, QUESTION, **{name: "alice"})
        assert (mine.text, mine.outcome.status) == ("alice's balance", pb.STATUS_EXACT_HIT)
        near = await complete(served, REWORDED, **{name: "alice"})
        assert (near.text, near.outcome.status) == ("alice's balance", pb.STATUS_SEMANTIC_HIT)
        assert (await counts(served)).semantic_hit == 2


async def test_end_users_dont_wait_for_each_other() -> None:
    gate = asyncio.Event()
    async with serving(upstream=ScriptedUpstream(lambda _: Scripted("x", gate=gate))) as served:
        tasks = [asyncio.create_task(complete(served, QUESTION, user=name)) for name in ("alice", "bob", "alice")]
        await served.upstream.called(2)
        await in_flight(served, 3)
        gate.set()
        first, bobs, second = [(await task).outcome.status for task in tasks]
        assert bobs == pb.STATUS_MISS
        assert {first, second} == {pb.STATUS_MISS, pb.STATUS_COALESCED}
        assert len(served.upstream.calls) == 2


async def test_all_share_where_the_operator_says_so() -> None:
    async with serving(SHARED) as served:
        await complete(served, QUESTION, user="alice")
        assert (await complete(served, QUESTION, user="bob")).outcome.status == pb.STATUS_EXACT_HIT


async def test_lookups_stores_explanations_and_invalidations_know_the_end_user() -> None:
    async with serving() as served:
        alice, bob = prompt(QUESTION, user="alice"), prompt(QUESTION, user="bob")
        await served.stub.Store(pb.StoreRequest(prompt=alice, text="alice's", tags=["accounts"]))
        found = await served.stub.Lookup(pb.LookupRequest(prompt=alice))
        assert (found.text, found.outcome.status) == ("alice's", pb.STATUS_EXACT_HIT)
        missed = await served.stub.Lookup(pb.LookupRequest(prompt=bob))
        assert (missed.text, missed.outcome.reason) == ("", "empty_partition")
        await served.stub.Store(pb.StoreRequest(lookup_id=missed.lookup_id, text="bob's", tags=["accounts"]))
        assert (await served.stub.Lookup(pb.LookupRequest(prompt=bob))).text == "bob's"
        explained = await served.stub.Explain(pb.ExplainRequest(prompt=prompt(REWORDED, user="carol")))
        assert not explained.candidates
        explained = await served.stub.Explain(pb.ExplainRequest(prompt=prompt(REWORDED, user="bob")))
        assert len(explained.candidates) == 1
        removed = await served.stub.Invalidate(pb.InvalidateRequest(tags=["accounts"], apply=True))
        assert removed.removed_count == 2
        assert (await served.stub.GetStats(pb.GetStatsRequest())).entries == 0
