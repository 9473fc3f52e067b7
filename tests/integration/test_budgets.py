"""Budgets over gRPC: a call without room is refused and told when, hits go on, and a restart changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime

import grpc
import pytest

from semcache import Client
from semcache.client.failures import ClientError
from semcache.model import Usage
from semcache.testing.clock import FakeClock
from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream
from semcache.v1 import semcache_pb2 as pb
from tests.integration.calls import complete, control, counts, stream

CALL_NANOUSD = 20 * 150 + 10 * 600
"""A scripted answer of gpt-4o-mini."""
MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
MINE = {"answer": "mine", "model": "gpt-4o-mini", "input_tokens": 20, "output_tokens": 10}
NOON_S = MIDNIGHT.timestamp() + 43_200


def budget(calls: float, **fields: object) -> dict[str, object]:
    """A day's budget for so many calls that say how long their answers may be."""
    return {"name": "day", "period": "day", "limit_usd": round(calls * CALL_NANOUSD) / 1e9, **fields}


def settings(*budgets: dict[str, object]) -> dict[str, dict[str, object]]:
    return {"costs": {"budgets": budgets}}


async def ask(served: Served, text: str, **fields: object) -> pb.CompleteResponse:
    return await complete(served, text, max_tokens=10, **fields)


async def own_budgets(served: Served) -> list[pb.BudgetStatus]:
    return list((await served.stub.GetSavings(pb.GetSavingsRequest())).budgets)


async def test_a_call_without_room_is_refused_and_what_is_cached_is_served() -> None:
    clock = FakeClock(wall=NOON_S)
    async with serving(settings(budget(3.5)), clock=clock) as served, Client(served.address) as client:
        for number in range(2):
            await ask(served, f"question {number}")
        with pytest.raises(ClientError) as refused:
            # 5,000 tokens don't fit, whatever it will turn out to be.
            await client.complete(prompt="a long one", model="gpt-4o-mini", max_tokens=5_000)
        assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "BUDGET_EXCEEDED")
        assert refused.value.metadata["resets_at"] == "2026-11-25T00:00:00Z"
        assert refused.value.retry_after_s == 43_200
        assert "day" in str(refused.value)

        await ask(served, "question 2")
        for attempt in (ask(served, "question 3"), stream(served, "question 4", max_tokens=10)):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await attempt
            assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await ask(served, "question 0")).outcome.status == pb.STATUS_EXACT_HIT
        assert len(served.upstream.calls) == 3
        totals = await counts(served)
        assert (totals.miss, totals.exact_hit, totals.error, totals.total) == (3, 1, 3, 7)

        clock.advance(43_200)
        await ask(served, "question 3")


async def test_calls_at_once_cannot_overrun() -> None:
    gate = asyncio.Event()
    upstream = ScriptedUpstream(lambda _: Scripted("late", gate=gate))
    async with serving(settings(budget(4.9)), upstream=upstream, clock=FakeClock(wall=NOON_S)) as served:
        calls = [asyncio.create_task(ask(served, f"question {number}")) for number in range(12)]
        done, under_way = await asyncio.wait(calls, timeout=0.5)
        (seen,) = [balance.reserved_nanousd for balance in served.application.composition.accounts.budgets.balances()]
        assert seen >= CALL_NANOUSD * len(under_way)
        gate.set()
        await asyncio.wait(calls)
        refused = [call for call in done if call.exception() is not None]
        assert len(refused) == 12 - len(under_way)
        assert 1 <= len(under_way) <= 4
        spent = (await served.stub.GetSavings(pb.GetSavingsRequest())).total.spent_nanousd
        assert spent == CALL_NANOUSD * len(under_way)


async def test_a_failed_call_gives_its_room_back() -> None:
    upstream = ScriptedUpstream(
        lambda call: Scripted(error=TimeoutError("gone")) if b"bad" in call.body else Scripted("fine")
    )
    async with serving(settings(budget(2.5, tenant="*")), upstream=upstream, clock=FakeClock(wall=NOON_S)) as served:
        for number in range(5):
            with pytest.raises(grpc.aio.AioRpcError):
                await ask(served, f"bad {number}")
        (state,) = await own_budgets(served)
        assert (state.spent_nanousd, state.reserved_nanousd) == (0, 0)
        await ask(served, "good")


async def test_a_restart_changes_nothing(tmp_path) -> None:
    clock = FakeClock(wall=NOON_S)
    told = settings(budget(2.5, tenant="*", warn_at=0.5))
    async with serving(told, path=tmp_path, clock=clock) as served:
        for number in range(2):
            await ask(served, f"question {number}")
        before = await own_budgets(served)
    async with serving(told, path=tmp_path, clock=clock) as served:
        assert await own_budgets(served) == before
        (state,) = before
        assert (state.spent_nanousd, state.reserved_nanousd) == (2 * CALL_NANOUSD, 0)
        assert state.state == pb.BUDGET_STATE_WARNING
        assert state.reset_time.seconds == NOON_S + 43_200
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(served, "question 2")


async def test_bypass_and_refresh_spend_and_stores_count() -> None:
    async with serving(settings(budget(3.9, tenant="default")), clock=FakeClock(wall=NOON_S)) as served:
        async with Client(served.address) as client:
            await client.store(prompt="mine", **MINE)
        await ask(served, "question", control=control(pb.CACHE_MODE_BYPASS))
        await ask(served, "question", control=control(pb.CACHE_MODE_REFRESH))
        (state,) = await own_budgets(served)
        assert state.spent_nanousd == 3 * CALL_NANOUSD
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(served, "another", control=control(pb.CACHE_MODE_BYPASS))
        async with Client(served.address) as client:
            assert (await client.store(prompt="mine too", **MINE)).stored


async def test_others_budgets_and_savings_are_for_those_who_may_read_all() -> None:
    keys = {name: f"{name}-key" for name in ("acme", "globex", "finance")}
    auth = {
        "enabled": True,
        "keys": [{"tenant": name, "sha256": hashlib.sha256(key.encode()).hexdigest()} for name, key in keys.items()],
        "read_all_savings": ["finance"],
    }
    told = {"auth": auth, **settings(budget(100, tenant="*"), {"name": "all", "limit_usd": 9})}
    async with serving(told, clock=FakeClock(wall=NOON_S)) as served:
        clients = {name: Client(served.address, api_key=key) for name, key in keys.items()}
        for name in ("acme", "globex", "globex"):
            await clients[name].complete(prompt=f"of {name}", model="gpt-4o-mini", max_tokens=10, mode="bypass")
        assert [(b.name, b.spent_nanousd) for b in (await clients["globex"].savings()).budgets] == [
            ("day", 2 * CALL_NANOUSD)
        ]
        for attempt in ("all", ["acme", "globex"]):
            with pytest.raises(ClientError) as refused:
                await clients["acme"].savings(tenants=attempt)
            assert refused.value.reason == "OTHER_TENANTS_SAVINGS"
        rows = (await clients["finance"].savings(tenants="all", group_by=["tenant"])).rows
        assert [(row.tenant, row.spent_nanousd) for row in rows] == [
            ("acme", CALL_NANOUSD),
            ("globex", 2 * CALL_NANOUSD),
        ]
        for client in clients.values():
            await client.close()


async def test_a_wrong_hit_costs_what_is_configured_once() -> None:
    overhead = {"wrong_answer_usd": 0.25, "embedding_usd_per_million": 2}
    async with serving({"costs": {"overhead": overhead}}) as served:
        await ask(served, "how do I reset my password")
        hit = (await ask(served, "how do I reset my password")).outcome
        for verdict in (pb.VERDICT_RIGHT, pb.VERDICT_WRONG, pb.VERDICT_WRONG, pb.VERDICT_RIGHT, pb.VERDICT_WRONG):
            await served.stub.ReportVerdict(pb.ReportVerdictRequest(hit_id=hit.hit_id, verdict=verdict))
        total = (await served.stub.GetSavings(pb.GetSavingsRequest())).total
        assert (total.wrong_hits, total.requests.total, total.requests.exact_hit) == (1, 2, 1)
        assert total.overhead_nanousd == 250_000_000 + 2_000
        assert total.saved_net_nanousd == CALL_NANOUSD - total.overhead_nanousd


async def test_a_wrong_hit_is_booked_under_the_hits_own_task() -> None:
    async with serving() as served:
        await ask(served, "how do I reset my password", task_type="chat")
        hit = (await ask(served, "how do I reset my password", task_type="code")).outcome
        await served.stub.ReportVerdict(pb.ReportVerdictRequest(hit_id=hit.hit_id, verdict=pb.VERDICT_WRONG))
        request = pb.GetSavingsRequest(group_by=[pb.SAVINGS_GROUP_TASK_TYPE])
        rows = (await served.stub.GetSavings(request)).rows
        assert [(row.task_type, row.wrong_hits) for row in rows] == [("chat", 0), ("code", 1)]


async def test_what_was_written_to_the_providers_cache_is_told() -> None:
    usage = Usage(2_000, 500, 10, cache_write_tokens=1_000)
    upstream = ScriptedUpstream(lambda _: Scripted("fine", usage=usage))
    async with serving(upstream=upstream) as served:
        outcome = (await ask(served, "question")).outcome
        again = (await ask(served, "question")).outcome
        assert again.status == pb.STATUS_EXACT_HIT
        for told in (outcome.usage, again.usage):
            assert (told.input_tokens, told.cached_input_tokens, told.cache_write_tokens) == (2_000, 500, 1_000)
