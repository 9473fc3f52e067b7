"""What most tests of the HTTP front use: a server with a scripted upstream, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from semcache.testing.serving import Served, serving
from tests.integration.http.calling import client_of


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as running:
        yield running


@pytest.fixture
async def client(served: Served) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(served) as opened:
        yield opened
