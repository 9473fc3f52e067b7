"""What a request asks of the cache: by x-semcache headers, by LiteLLM's field `cache`, by Cache-Control."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
import pytest

from semcache.testing.clock import FakeClock
from semcache.testing.serving import Served, serving
from semcache.v1 import semcache_pb2 as pb
from tests.integration.calls import complete, control
from tests.integration.http.calling import CHAT, asking, client_of, error_of


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(clock=FakeClock()) as running:
        yield running


async def ask(
    client: httpx2.AsyncClient, text: str = "a", headers: Mapping[str, str] | None = None, **fields: Any
) -> httpx2.Response:
    return await client.post(CHAT, json=asking(text, **fields), headers=headers)


@pytest.mark.parametrize(
    "wish",
    [
        {"headers": {"cache-control": "no-cache"}},
        {"headers": {"x-semcache-mode": "refresh"}},
        {"cache": {"no-cache": True}},
    ],
    ids=str,
)
async def test_no_cache_asks_the_upstream_and_replaces_the_entry(
    served: Served, client: httpx2.AsyncClient, wish: dict[str, Any]
) -> None:
    await ask(client)
    answer = await ask(client, **wish)
    assert answer.headers["x-cache-status"] == "BYPASS"
    assert answer.headers["cache-status"].startswith("semcache; fwd=request; stored")
    assert len(served.upstream.calls) == 2


@pytest.mark.parametrize("wish", [{"headers": {"cache-control": "no-store"}}, {"cache": {"no-store": True}}], ids=str)
async def test_no_store_keeps_nothing_and_still_reads(client: httpx2.AsyncClient, wish: dict[str, Any]) -> None:
    first = await ask(client, **wish)
    assert "stored" not in first.headers["cache-status"]
    assert (await ask(client)).headers["x-cache-status"] == "MISS"
    assert (await ask(client, **wish)).headers["x-cache-status"] == "HIT"


@pytest.mark.parametrize(
    "wish",
    [
        {"headers": {"cache-control": "no-cache, no-store"}},
        {"headers": {"x-semcache-mode": "bypass"}},
        {"headers": {"cache-control": "no-store"}, "cache": {"no-cache": True}},
    ],
    ids=str,
)
async def test_no_cache_and_no_store_together_are_a_bypass(client: httpx2.AsyncClient, wish: dict[str, Any]) -> None:
    await ask(client)
    answer = await ask(client, **wish)
    assert answer.headers["cache-status"] == "semcache; fwd=bypass; detail=requested"


@pytest.mark.parametrize("wish", [{"headers": {"cache-control": "max-age=60"}}, {"cache": {"s-maxage": 60}}], ids=str)
async def test_an_answer_may_be_too_old(served: Served, client: httpx2.AsyncClient, wish: dict[str, Any]) -> None:
    clock = served.application.composition.adapters.clock
    assert isinstance(clock, FakeClock)
    await ask(client)
    clock.advance(59)
    young = await ask(client, **wish)
    assert (young.headers["x-cache-status"], young.headers["age"]) == ("HIT", "59")
    clock.advance(2)
    assert (await ask(client, **wish)).headers["x-cache-status"] == "MISS"


@pytest.mark.parametrize("wish", [{"headers": {"x-semcache-ttl": "60"}}, {"cache": {"ttl": 60}}], ids=str)
async def test_an_answer_lives_as_long_as_asked(
    served: Served, client: httpx2.AsyncClient, wish: dict[str, Any]
) -> None:
    clock = served.application.composition.adapters.clock
    assert isinstance(clock, FakeClock)
    await ask(client, **wish)
    clock.advance(61)
    assert (await ask(client)).headers["x-cache-status"] == "MISS"


@pytest.mark.parametrize(
    "wish", [{"headers": {"cache-control": "only-if-cached"}}, {"headers": {"x-semcache-mode": "cache-only"}}], ids=str
)
async def test_only_if_cached_is_a_504_where_nothing_is(
    served: Served, client: httpx2.AsyncClient, wish: dict[str, Any]
) -> None:
    miss = await ask(client, **wish)
    assert (miss.status_code, error_of(miss)["code"]) == (504, "CACHE_ONLY_MISS")
    assert miss.headers["x-should-retry"] == "false"
    assert served.upstream.calls == []
    await ask(client)
    assert (await ask(client, **wish)).headers["x-cache-status"] == "HIT"


@pytest.mark.parametrize(
    "wish", [{"headers": {"x-semcache-namespace": "helpdesk"}}, {"cache": {"namespace": "helpdesk"}}], ids=str
)
async def test_namespaces_share_nothing(client: httpx2.AsyncClient, wish: dict[str, Any]) -> None:
    await ask(client)
    assert (await ask(client, **wish)).headers["x-cache-status"] == "MISS"
    assert (await ask(client, **wish)).headers["x-cache-status"] == "HIT"


async def test_the_field_cache_is_no_part_of_the_key_and_isnt_forwarded(
    served: Served, client: httpx2.AsyncClient
) -> None:
    raw = '{"cache" : {"ttl": 60},  "model": "m", "messages": [{"role": "user", "content": "1e3 \\u00e9"}]}'
    headers = {"content-type": "application/json"}
    await client.post(CHAT, content=raw.encode(), headers=headers)
    without = raw.replace('"cache" : {"ttl": 60},  ', "")
    assert served.upstream.calls[0].body == without.encode()
    again = await client.post(CHAT, content=without.encode(), headers=headers)
    assert again.headers["x-cache-status"] == "HIT"


@pytest.mark.parametrize("name", ["x-semcache-knowledge-version", "x-semcache-template"])
async def test_other_knowledge_and_other_templates_are_other_partitions(client: httpx2.AsyncClient, name: str) -> None:
    value = "v2" if "knowledge" in name else json.dumps({"id": "faq", "slots": {"question": "a"}})
    await ask(client)
    assert (await ask(client, headers={name: value})).headers["x-cache-status"] == "MISS"
    assert (await ask(client, headers={name: value})).headers["x-cache-status"] == "HIT"


async def test_tags_and_sources_name_the_entry(client: httpx2.AsyncClient) -> None:
    headers = [("x-semcache-tags", "a, b"), ("x-semcache-tags", "c"), ("x-semcache-sources", "doc:1")]
    await client.post(CHAT, json=asking("a"), headers=headers)
    (line,) = (await client.get("/semcache/v1/entries", params={"tag": "c"})).text.splitlines()
    entry = json.loads(line)["entry"]
    assert (entry["tags"], entry["sources"]) == (["a", "b", "c"], ["doc:1"])


async def test_the_threshold_can_only_be_raised() -> None:
    settings = {"decision": {"threshold": 0.6, "guards": []}}
    async with serving(settings) as served, client_of(served) as client:
        await ask(client, "one two three four five")
        no_store = {"cache-control": "no-store"}
        far = await ask(client, "five six seven eight nine", headers={"x-semcache-threshold": "-1", **no_store})
        assert far.headers["x-cache-status"] == "MISS"
        near = await ask(client, "one two three four six", headers=no_store)
        assert near.headers["x-cache-match"] == "semantic"
        strict = await ask(client, "one two three four six", headers={"x-semcache-threshold": "0.99", **no_store})
        assert strict.headers["x-cache-status"] == "MISS"
        assert strict.headers["x-cache-similarity"] == near.headers["x-cache-similarity"]


async def test_exact_only_serves_equal_requests_and_no_paraphrase(client: httpx2.AsyncClient) -> None:
    exact = {"x-semcache-mode": "exact-only"}
    await ask(client, "How do I reset my password?")
    assert (await ask(client, "How do I reset my password?", headers=exact)).headers["x-cache-match"] == "exact"
    near = await ask(client, "How do I reset my password, please?", headers=exact)
    assert near.headers["cache-status"] == "semcache; fwd=miss; stored; detail=exact_only"
    again = await ask(client, "How do I reset my password, please?", headers=exact)
    assert again.headers["x-cache-match"] == "exact"


async def test_exact_only_is_a_mode_of_grpc_too(served: Served) -> None:
    mode = control(pb.CACHE_MODE_EXACT_ONLY)
    await complete(served, "How do I reset my password?")
    near = await complete(served, "How do I reset my password, please?", control=mode)
    assert (near.outcome.status, near.outcome.reason) == (pb.STATUS_MISS, "exact_only")
    served.upstream.calls.clear()
    same = await complete(served, "How do I reset my password?", control=mode)
    assert same.outcome.status == pb.STATUS_EXACT_HIT


async def test_a_header_counts_before_the_field_and_the_field_before_cache_control(
    served: Served, client: httpx2.AsyncClient
) -> None:
    await ask(client, headers={"x-semcache-namespace": "one"}, cache={"namespace": "two"})
    assert (await ask(client, headers={"x-semcache-namespace": "one"})).headers["x-cache-status"] == "HIT"
    default = await ask(
        client, headers={"x-semcache-namespace": "one", "x-semcache-mode": "default", "cache-control": "no-cache"}
    )
    assert default.headers["x-cache-status"] == "HIT"


@pytest.mark.parametrize(
    ("headers", "fields", "code"),
    [
        ({"x-semcache-mode": "sometimes"}, {}, "INVALID_MODE"),
        ({"x-semcache-namespase": "a"}, {}, "UNKNOWN_HEADER"),
        ({"x-semcache-namespace": "two words"}, {}, "INVALID_NAME"),
        ({"x-semcache-ttl": "soon"}, {}, "INVALID_PARAMETER"),
        ({"x-semcache-ttl": "0"}, {}, "INVALID_TTL"),
        ({"x-semcache-ttl": "nan"}, {}, "INVALID_PARAMETER"),
        ({"x-semcache-threshold": "1.5"}, {}, "INVALID_THRESHOLD"),
        ({"x-semcache-template": "faq"}, {}, "INVALID_TEMPLATE"),
        ({"x-semcache-tags": ",".join(f"t{n}" for n in range(33))}, {}, "TOO_MANY_TAGS"),
        ({"cache-control": "max-age=soon"}, {}, "INVALID_MAX_AGE"),
        ({"cache-control": "no-cache, only-if-cached"}, {}, "INVALID_CACHE_CONTROL"),
        ({}, {"cache": True}, "INVALID_PARAMETER"),
        ({}, {"cache": {"ttl": "60"}}, "INVALID_PARAMETER"),
        ({}, {"cache": {"time": 60}}, "INVALID_PARAMETER"),
        ({}, {"cache": {"no-store": "yes"}}, "INVALID_PARAMETER"),
        ({}, {"stream": "true"}, "INVALID_PARAMETER"),
    ],
    ids=str,
)
async def test_a_wish_that_cant_be_understood_is_refused(
    served: Served, client: httpx2.AsyncClient, headers: dict[str, str], fields: dict[str, Any], code: str
) -> None:
    answer = await ask(client, headers=headers, **fields)
    assert (answer.status_code, error_of(answer)["code"]) == (400, code)
    assert served.upstream.calls == []


async def test_unknown_directives_of_cache_control_are_ignored(client: httpx2.AsyncClient) -> None:
    answer = await ask(client, headers={"cache-control": "max-stale=5, max-age=60, made-up"})
    assert answer.status_code == 200


async def test_a_header_that_was_sent_twice_is_refused(client: httpx2.AsyncClient) -> None:
    headers = [("x-semcache-namespace", "a"), ("x-semcache-namespace", "b")]
    answer = await client.post(CHAT, json=asking("a"), headers=headers)
    assert error_of(answer)["code"] == "DUPLICATE_HEADER"
