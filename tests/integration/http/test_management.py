"""The calls of the gRPC service as JSON: what they take, what they answer, and that both fronts say the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx2
import pytest
import structlog
from google.protobuf import json_format

from semcache.testing.clock import FakeClock
from semcache.testing.serving import Served, serving
from semcache.v1 import semcache_pb2 as pb
from tests.integration.calls import complete, prompt
from tests.integration.http.calling import CHAT, asking, error_of


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(clock=FakeClock()) as running:
        yield running


async def test_a_wrong_hit_is_reported_and_not_served_again(served: Served, client: httpx2.AsyncClient) -> None:
    await complete(served, "How do I reset my password?")
    near = asking("How do I reset my password, please?")
    hit = await client.post(CHAT, json=near)
    verdict = {"hitId": hit.headers["x-semcache-hit-id"], "verdict": "VERDICT_WRONG"}
    with structlog.testing.capture_logs() as logs:
        answer = await client.post("/semcache/v1/verdicts", json=verdict)
    assert answer.json()["blocked"] is True
    assert [line["caller"] for line in logs if line["event"] == "audit.verdict_reported"] == ["anybody"]
    assert (await client.post(CHAT, json=near)).headers["x-cache-status"] == "MISS"


async def test_an_invalidation_counts_before_it_removes(served: Served, client: httpx2.AsyncClient) -> None:
    await complete(served, "one", tags=["red"])
    await complete(served, "two")
    dry = (await client.post("/semcache/v1/invalidate", json={"tags": ["red"]})).json()
    assert (dry["matchedCount"], dry.get("removedCount", "0")) == ("1", "0")
    applied = (await client.post("/semcache/v1/invalidate", json={"tags": ["red"], "apply": True})).json()
    assert applied["removedCount"] == "1"
    assert len((await client.get("/semcache/v1/entries")).text.splitlines()) == 1


async def test_both_fronts_say_the_same(served: Served, client: httpx2.AsyncClient) -> None:
    await complete(served, "one", tags=["red"])
    message = pb.ExplainRequest(prompt=prompt("one"))
    explained = await client.post("/semcache/v1/explain", json=json_format.MessageToDict(message))
    by_http = json_format.Parse(explained.content, pb.ExplainResponse())
    by_grpc = await served.stub.Explain(message)
    by_grpc.request_id = by_http.request_id
    assert by_http == by_grpc
    (line,) = (await client.get("/semcache/v1/entries")).text.splitlines()
    (entry,) = [entry async for entry in served.stub.ListEntries(pb.ListEntriesRequest())]
    assert json_format.Parse(line, pb.ListEntriesResponse()) == entry
    savings = json_format.Parse((await client.get("/semcache/v1/savings")).content, pb.GetSavingsResponse())
    assert savings.total == (await served.stub.GetSavings(pb.GetSavingsRequest())).total
    stats = json_format.Parse((await client.get("/semcache/v1/stats")).content, pb.GetStatsResponse())
    assert stats.requests == (await served.stub.GetStats(pb.GetStatsRequest())).requests


async def test_a_query_has_the_fields_of_the_message(served: Served, client: httpx2.AsyncClient) -> None:
    for text in ("one", "two", "three"):
        await complete(served, text, tags=["red"])
    limited = await client.get("/semcache/v1/entries", params={"limit": 2, "tag": "red"})
    assert limited.headers["content-type"] == "application/x-ndjson"
    assert len([json.loads(line) for line in limited.text.splitlines()]) == 2
    assert (await client.get("/semcache/v1/entries", params={"tag": "blue"})).text == ""
    query = [("group_by", "SAVINGS_GROUP_MODEL"), ("groupBy", "SAVINGS_GROUP_HOUR"), ("all_tenants", "true")]
    rows = (await client.get("/semcache/v1/savings", params=query[:1] + query[2:])).json()["rows"]
    assert rows[0]["model"] == "gpt-4o-mini"


@pytest.mark.parametrize(
    ("method", "path", "sent", "code"),
    [
        ("POST", "invalidate", {}, "INVALID_REQUEST"),
        ("POST", "invalidate", {"everything": True}, "INVALID_PARAMETER"),
        ("POST", "invalidate", {"all": "yes"}, "INVALID_PARAMETER"),
        ("POST", "verdicts", {"hitId": "a", "verdict": "VERDICT_MAYBE"}, "INVALID_PARAMETER"),
        ("GET", "entries", {"limit": "many"}, "INVALID_PARAMETER"),
        ("GET", "entries", {"color": "red"}, "INVALID_PARAMETER"),
        ("GET", "savings", {"allTenants": "perhaps"}, "INVALID_PARAMETER"),
    ],
)
async def test_what_is_no_message_is_refused(
    client: httpx2.AsyncClient, method: str, path: str, sent: dict[str, object], code: str
) -> None:
    fields = {"json": sent} if method == "POST" else {"params": sent}
    answer = await client.request(method, f"/semcache/v1/{path}", **fields)
    assert (answer.status_code, error_of(answer)["code"]) == (400, code)


async def test_a_field_that_is_sent_twice_is_refused(client: httpx2.AsyncClient) -> None:
    body = b'{"tags": ["red"], "apply": false, "apply": true}'
    answer = await client.post("/semcache/v1/invalidate", content=body, headers={"content-type": "application/json"})
    assert error_of(answer)["code"] == "DUPLICATE_KEY"
