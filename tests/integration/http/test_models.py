"""The list of models as Anthropic's clients read it: pages, and errors of Anthropic's shape."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from semcache.testing.serving import serving
from tests.integration.http.calling import client_of

VERSION = {"anthropic-version": "2023-06-01"}
ALIASES = [f"m{number}" for number in range(25)]


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    upstream = {
        "targets": [{"name": "house", "base_url": "http://127.0.0.1:9/v1"}],
        "routes": [{"alias": alias, "target": "house"} for alias in [*ALIASES, "*"]],
    }
    async with serving({"upstream": upstream}) as served, client_of(served) as opened:
        yield opened


async def listed(client: httpx2.AsyncClient, query: str = "") -> dict[str, Any]:
    answer = await client.get(f"/v1/models{query}", headers=VERSION)
    assert answer.status_code == 200
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    page = answer.json()
    ids = [model["id"] for model in page["data"]]
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
    return page


@pytest.mark.parametrize(
    ("query", "first", "last", "has_more"),
    [
        ("", 0, 20, True),
        ("?beta=true", 0, 20, True),
        ("?limit=1000", 0, 25, False),
        ("?limit=25", 0, 25, False),
        ("?limit=24", 0, 24, True),
        ("?limit=1&after_id=m3", 4, 5, True),
        ("?after_id=m3", 4, 24, True),
        ("?after_id=m20", 21, 25, False),
        ("?after_id=m24", 25, 25, False),
        ("?before_id=m3", 0, 3, False),
        ("?before_id=m3&limit=3", 0, 3, False),
        ("?before_id=m3&limit=2", 1, 3, True),
        ("?before_id=m0", 0, 0, False),
        ("?lifecycle%5B%5D=active&lifecycle%5B%5D=retired&limit=30", 0, 25, False),
        ("?lifecycle[]=retired", 0, 0, False),
    ],
)
async def test_a_page_of_models(client: httpx2.AsyncClient, query: str, first: int, last: int, has_more: bool) -> None:
    page = await listed(client, query)
    assert [model["id"] for model in page["data"]] == ALIASES[first:last]
    assert page["has_more"] is has_more


@pytest.mark.parametrize(
    "query",
    [
        "?limit=0",
        "?limit=1001",
        "?limit=-1",
        "?limit=",
        "?limit=ten",
        "?limit=%D9%A3",
        "?limit=1&limit=2",
        "?limit=" + "9" * 5000,
        "?after_id=unknown",
        "?before_id=",
        "?after_id=m1&before_id=m3",
    ],
    ids=lambda query: query[:20],
)
async def test_a_page_that_cant_be_is_refused(client: httpx2.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/models{query}", headers=VERSION)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "INVALID_PARAMETER")
    assert answer.json()["request_id"] == answer.headers["request-id"]


async def test_one_model(client: httpx2.AsyncClient) -> None:
    one = (await client.get("/v1/models/m3", headers=VERSION)).json()
    assert one == (await listed(client))["data"][3]
    assert (one["type"], one["display_name"], one["lifecycle"]) == ("model", "m3", "active")
    assert one["created_at"].endswith("Z")
    assert (await client.get("/v1/models/any/other", headers=VERSION)).json()["id"] == "any/other"


async def test_openais_clients_get_openais_list_whatever_they_ask(client: httpx2.AsyncClient) -> None:
    whole = (await client.get("/v1/models?limit=ten")).json()
    assert [model["id"] for model in whole["data"]] == ALIASES
    assert whole["data"][0].keys() == {"id", "object", "created", "owned_by"}
