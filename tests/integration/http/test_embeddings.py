"""Embeddings over HTTP: each input is found again, and those that aren't are one upstream call."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from semcache.model import Usage
from semcache.server.clock import SystemClock
from semcache.settings import Target, TargetPrice, UpstreamSettings
from semcache.testing.serving import Served, serving
from semcache.testing.upstream import completion_body, embeddings_body
from semcache.testing.upstream_server import Received, Reply, ScriptedServer, failure, plain
from semcache.upstream import HttpUpstream
from tests.integration.calls import in_flight
from tests.integration.http.calling import CHAT, asking, client_of, error_of

PATH = "/v1/embeddings"
CENTS = TargetPrice(input=1, output=0)


def inputs_of(request: Received) -> list[Any]:
    given = request.json["input"]
    return given if isinstance(given, list) and not isinstance(given[0], int) else [given]


def provider(request: Received) -> Reply:
    """Return for each text its length; a text "fail" fails the whole call, as an upstream's own check would."""
    if request.path.endswith("/chat/completions"):
        return plain(completion_body("A text.", model="e"))
    texts = [text if isinstance(text, str) else "t" * len(text) for text in inputs_of(request)]
    if "fail" in texts:
        return failure(400, "no such input")
    return plain(embeddings_body(texts, model="e-1", usage=Usage(input_tokens=sum(map(len, texts)))))


class Running:
    def __init__(self, served: Served, server: ScriptedServer, client: httpx2.AsyncClient) -> None:
        self.served = served
        self.server = server
        self.client = client

    async def embed(self, given: object, **fields: Any) -> httpx2.Response:
        headers = fields.pop("headers", {})
        return await self.client.post(PATH, json={"model": "e", "input": given, **fields}, headers=headers)

    @property
    def asked(self) -> list[Any]:
        return [request.json["input"] for request in self.server.requests]


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with ScriptedServer(provider) as server:
        settings = UpstreamSettings(targets=(Target(name="t", base_url=server.base_url, price=CENTS),))
        upstream: Any = HttpUpstream(settings, SystemClock(), rng=random.Random(0), environ={})
        overrides = {
            "upstream": {"targets": [{"name": "t", "base_url": server.base_url, "price": {"input": 1, "output": 0}}]}
        }
        try:
            async with serving(overrides, upstream=upstream) as served, client_of(served) as client:
                yield Running(served, server, client)
        finally:
            await upstream.close()


def lengths(response: httpx2.Response) -> list[float]:
    assert response.status_code == 200, response.text
    body = response.json()
    assert [vector["index"] for vector in body["data"]] == list(range(len(body["data"])))
    assert (body["object"], body["model"]) == ("list", "e-1")
    return [vector["embedding"][0] for vector in body["data"]]


async def test_a_text_is_embedded_once(running: Running) -> None:
    first, again = await running.embed("abc"), await running.embed("abc")
    assert lengths(first) == lengths(again) == [3]
    assert first.json() == again.json()
    assert (first.headers["x-cache-status"], again.headers["x-cache-status"]) == ("MISS", "HIT")
    assert again.headers["x-cache-match"] == "exact"
    assert (first.headers["x-semcache-cost-usd"], again.headers["x-semcache-saved-usd"]) == ("0.000003", "0.000003")
    assert running.server.requests[0].path == "/v1/embeddings"
    assert running.asked == ["abc"]


async def test_of_several_texts_only_those_that_arent_known_are_asked_for(running: Running) -> None:
    await running.embed("bb")
    response = await running.embed(["a", "bb", "ccc", "dddd"])
    assert lengths(response) == [1, 2, 3, 4]
    assert running.asked == ["bb", ["a", "ccc", "dddd"]]
    assert response.json()["usage"] == {"prompt_tokens": 10, "total_tokens": 10}
    assert response.headers["x-cache-status"] == "MISS"
    assert (response.headers["x-semcache-items"], response.headers["x-semcache-item-hits"]) == ("4", "1")
    assert response.headers["x-semcache-cost-usd"] == "0.000008"
    assert response.headers["x-semcache-saved-usd"] == "0.000002"
    whole = await running.embed(["dddd", "a"])
    assert lengths(whole) == [4, 1]
    assert (whole.headers["x-cache-status"], whole.headers["x-semcache-item-hits"]) == ("HIT", "2")
    assert len(running.asked) == 2


async def test_a_text_that_comes_twice_in_one_call_is_asked_for_once(running: Running) -> None:
    response = await running.embed(["abc", "abc", "de"])
    assert lengths(response) == [3, 3, 2]
    assert running.asked == [["abc", "de"]]


async def test_thousands_of_texts_are_a_few_calls(running: Running) -> None:
    texts = [f"{number:05}" for number in range(3_000)]
    assert lengths(await running.embed(texts)) == [5] * 3_000
    assert Counter(len(asked) for asked in running.asked) == {128: 23, 56: 1}
    assert lengths(await running.embed(texts[::-1])) == [5] * 3_000
    assert len(running.asked) == 24


async def test_tokens_are_inputs_too(running: Running) -> None:
    assert lengths(await running.embed([5, 6, 7])) == [3]
    assert lengths(await running.embed([[5, 6, 7], [8]])) == [3, 1]
    assert running.asked == [[5, 6, 7], [8]]


async def test_a_failure_reaches_the_client_and_stores_nothing(running: Running) -> None:
    await running.embed("a")
    response = await running.embed(["a", "fail", "b"])
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "no such input"
    assert lengths(await running.embed(["b"])) == [1]
    assert running.asked == ["a", ["fail", "b"], "b"]
    await in_flight(running.served, 0)


async def test_other_dimensions_and_formats_are_other_answers(running: Running) -> None:
    await running.embed("abc")
    await running.embed("abc", dimensions=8)
    await running.embed("abc", encoding_format="base64")
    assert len(running.asked) == 3


async def test_wishes_hold_for_each_input(running: Running) -> None:
    await running.embed(["a", "b"], headers={"cache-control": "no-store"})
    await running.embed(["a", "b"], cache={"ttl": 60})
    refreshed = await running.embed(["a", "b"], headers={"x-semcache-mode": "refresh"})
    assert lengths(refreshed) == [1, 1]
    assert running.asked == [["a", "b"]] * 3
    missing = await running.embed(["a", "z"], headers={"cache-control": "only-if-cached"})
    assert (missing.status_code, error_of(missing)["code"]) == (504, "CACHE_ONLY_MISS")


async def test_an_embedding_never_answers_a_chat(running: Running) -> None:
    await running.embed("hi", model="gpt-4o-mini")
    chat = await running.client.post(CHAT, json=asking("hi"))
    assert chat.headers["x-cache-status"] == "MISS"
    assert chat.json()["object"] == "chat.completion"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"model": "e"}, "EMPTY_INPUT"),
        ({"model": "e", "input": []}, "EMPTY_INPUT"),
        ({"model": "e", "input": ["a", ""]}, "EMPTY_INPUT"),
        ({"model": "e", "input": {"text": "a"}}, "INVALID_PARAMETER"),
        ({"model": "e", "input": ["a", None]}, "EMPTY_INPUT"),
        ({"input": ["a"]}, "NO_MODEL"),
        ({"model": 3, "input": "a"}, "INVALID_PARAMETER"),
        ({"model": "e", "input": "a", "stream": True}, "INVALID_PARAMETER"),
        ({"model": "e", "input": ["half \ud800"]}, "INVALID_TEXT"),
    ],
)
async def test_bad_input_is_refused_before_anything_is_asked(running: Running, body: Any, reason: str) -> None:
    response = await running.client.post(PATH, content=json.dumps(body), headers={"content-type": "application/json"})
    assert (response.status_code, error_of(response)["code"]) == (400, reason)
    assert running.asked == []
