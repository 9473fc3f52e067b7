"""Half a surrogate pair, which JSON can escape and UTF-8 can't hold: refused at the door, and told if it is inside."""

from __future__ import annotations

import json

import grpc
import pytest
from prometheus_client import generate_latest

from semcache.model import NO_COST, LedgerRecord, Status, Usage
from semcache.testing.serving import Served, serving
from semcache.v1 import semcache_pb2 as pb
from tests.integration.calls import prompt, reason_of

HALF = "m\ud800"


def completion(**fields: object) -> bytes:
    choice = {"message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    return json.dumps({"model": "m", "choices": [choice], **fields}).encode()


async def everything(served: Served) -> tuple[pb.GetStatsResponse, pb.GetSavingsResponse]:
    """Call all that tells of what is stored."""
    listed = [entry async for entry in served.stub.ListEntries(pb.ListEntriesRequest())]
    assert all(item.entry.entry_id for item in listed)
    group_by = [pb.SAVINGS_GROUP_MODEL, pb.SAVINGS_GROUP_TENANT]
    savings = await served.stub.GetSavings(pb.GetSavingsRequest(all_tenants=True, group_by=group_by))
    return await served.stub.GetStats(pb.GetStatsRequest()), savings


@pytest.mark.parametrize(
    "fields",
    [
        {"model": HALF},
        {"service_tier": HALF},
        {"choices": [{"message": {"content": "a"}, "finish_reason": HALF}]},
    ],
    ids=["model", "tier", "finish reason"],
)
async def test_a_store_with_a_name_that_can_not_be_told_is_refused_alone_and_in_a_batch(
    fields: dict[str, object],
) -> None:
    async with serving() as served:
        store = pb.StoreRequest(prompt=prompt("one"), openai_json=completion(**fields))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await served.stub.Store(store)
        assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_TEXT")
        fine = pb.StoreRequest(prompt=prompt("two"), text="an answer")
        batch = await served.stub.StoreBatch(pb.StoreBatchRequest(requests=[store, fine]))
        assert [result.WhichOneof("result") for result in batch.results] == ["error", "response"]
        assert batch.results[0].error.reason == "INVALID_TEXT"
        stats, _ = await everything(served)
        assert (stats.entries, [model.model for model in stats.unpriced_models]) == (1, [])


@pytest.mark.parametrize("field", ["model", "user", "stop", "an unknown one"])
async def test_a_request_that_can_not_be_told_is_refused(field: str) -> None:
    async with serving() as served:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], field: HALF}
        asked = pb.Prompt(openai_json=json.dumps(body).encode())
        for call in (
            served.stub.Complete(pb.CompleteRequest(prompt=asked)),
            served.stub.Lookup(pb.LookupRequest(prompt=asked)),
            served.stub.Explain(pb.ExplainRequest(prompt=asked)),
            served.stub.Store(pb.StoreRequest(prompt=asked, text="an answer")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        await everything(served)


async def test_what_is_only_passed_on_may_hold_it() -> None:
    async with serving() as served:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "metadata": {"key": HALF}}
        asked = pb.Prompt(openai_json=json.dumps(body).encode())
        await served.stub.Complete(pb.CompleteRequest(prompt=asked))
        assert served.upstream.bodies[0]["metadata"] == {"key": HALF}
        await everything(served)


async def test_what_an_earlier_version_let_in_is_told() -> None:
    async with serving() as served:
        rooms = served.application.composition
        line = LedgerRecord(
            request_id="r",
            at_s=rooms.adapters.clock.wall(),
            tenant="default",
            namespace="default",
            status=Status.MISS,
            alias=HALF,
            model=HALF,
            task_type="",
            usage=Usage(10, 0, 5),
            spent=NO_COST,
            saved=NO_COST,
        )
        rooms.adapters.store.ledger.record(line)
        rooms.accounts.prices.cost(HALF, line.usage, line.at_s)
        stats, savings = await everything(served)
        assert [(model.model, model.requests) for model in stats.unpriced_models] == [("m?", 1)]
        assert [(row.model, row.requests.miss) for row in savings.rows] == [("m?", 1)]
        replaced = next(line for line in (await page(served)) if line.startswith("semcache_replaced_texts_total "))
        assert float(replaced.split()[1]) >= 2


async def page(served: Served) -> list[str]:
    """Return the lines of the metrics page."""
    return generate_latest(served.application.composition.registry).decode().splitlines()
