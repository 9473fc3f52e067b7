"""An answer of lines that fails after it has begun: its last line says why, as JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from semcache.errors import StoreError
from semcache.server.grpc.service import Service
from semcache.testing.serving import serving
from semcache.v1 import semcache_pb2 as pb
from tests.integration.http.calling import client_of


async def test_the_last_line_of_a_list_that_fails_is_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def list_entries(*_: Any) -> AsyncIterator[pb.ListEntriesResponse]:
        for _ in range(2):
            yield pb.ListEntriesResponse(entry=pb.Entry(namespace="a" * 40_000))
        raise StoreError("The disk is broken.")

    monkeypatch.setattr(Service, "list_entries", list_entries)
    async with serving() as served, client_of(served) as client:
        answer = await client.get("/semcache/v1/entries")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    *entries, last = [json.loads(line) for line in answer.text.splitlines()]
    assert all("entry" in line for line in entries)
    assert last["error"]["code"] == "STORE_FAILED"
