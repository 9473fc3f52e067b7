"""The installed server killed under load: whatever it had acknowledged is there when it starts again."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import grpc
import pytest

from semcache.request import secret_key_id
from semcache.settings import StoreSettings
from semcache.store import LmdbStore, check
from semcache.testing.clock import FakeClock
from semcache.testing.upstream_server import ScriptedServer
from semcache.v1 import semcache_pb2 as pb
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub
from tests.integration.calls import prompt

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]
ROUNDS = 3
WORKERS = 12
BATCH = 100
SECRET = "a secret of the tests' own"


@dataclass
class Acknowledged:
    """What callers were told before the server was killed."""

    stored: dict[str, str] = field(default_factory=dict)
    completed: dict[str, str] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __len__(self) -> int:
        return len(self.stored) + len(self.completed)


def config(path: Path, upstream: str) -> Path:
    file = path / "semcache.toml"
    file.write_text(
        f"""
        [server]
        port = 0
        http.port = 0
        [metrics]
        enabled = false
        [store]
        path = "{path / "store"}"
        [keys]
        secret = "{SECRET}"
        [log]
        format = "json"
        [[upstream.targets]]
        name = "scripted"
        base_url = "{upstream}"
        provider = "any"
        """,
        "utf-8",
    )
    return file


@asynccontextmanager
async def started(command: str, file: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, grpc.aio.Channel]]:
    process = await asyncio.create_subprocess_exec(
        command, "serve", "--config", str(file), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert process.stderr is not None
    try:
        lines = []
        while line := await process.stderr.readline():
            lines.append(line.decode())
            if '"server.ready"' in lines[-1]:
                break
        assert line, "".join(lines)
        reading = asyncio.create_task(process.stderr.read())
        async with grpc.aio.insecure_channel(json.loads(line)["address"]) as channel:
            yield process, channel
        await reading
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def load(stub: SemanticCacheServiceStub, names: count[int], told: Acknowledged) -> None:
    """Store and complete until the server is gone."""
    with suppress(grpc.aio.AioRpcError):
        for number in names:
            text = f"What is the story of item {number}?"
            if number % 3:
                answer = f"The story of {number} " + "x" * (number * 131 % 5000)
                stored = await stub.Store(pb.StoreRequest(prompt=prompt(text), text=answer, tags=[f"t{number % 5}"]))
                assert stored.stored
                told.stored[text] = answer
                told.spent[stored.request_id] = stored.cost.total_nanousd
            else:
                completed = await stub.Complete(pb.CompleteRequest(prompt=prompt(text)))
                told.completed[text] = completed.text
                told.spent[completed.outcome.request_id] = completed.outcome.cost.total_nanousd
            told.changed.set()


async def killed_under_load(command: str, file: Path, names: count[int], told: Acknowledged, after: int) -> None:
    async with started(command, file) as (process, channel):
        stub = SemanticCacheServiceStub(channel)
        await found_again(stub, told)
        wanted = len(told) + after
        workers = [asyncio.create_task(load(stub, names, told)) for _ in range(WORKERS)]
        while len(told) < wanted:
            told.changed.clear()
            await told.changed.wait()
        process.kill()
        await asyncio.gather(*workers)


async def found_again(stub: SemanticCacheServiceStub, told: Acknowledged) -> None:
    expected = [*told.stored.items(), *told.completed.items()]
    for start in range(0, len(expected), BATCH):
        some = expected[start : start + BATCH]
        lookups = [pb.LookupRequest(prompt=prompt(text)) for text, _ in some]
        found = await stub.LookupBatch(pb.LookupBatchRequest(requests=lookups))
        for (text, answer), result in zip(some, found.results, strict=True):
            assert result.response.outcome.status == pb.STATUS_EXACT_HIT, f"{text} was acknowledged and is gone"
            assert result.response.text == answer


async def test_a_killed_server_has_lost_nothing_that_it_acknowledged(require_program, tmp_path: Path) -> None:
    command = require_program("semcache")
    chance = random.Random(5)
    told = Acknowledged()
    names = count()
    async with ScriptedServer(keep_requests=False) as upstream:
        file = config(tmp_path, upstream.base_url)
        for _ in range(ROUNDS):
            await killed_under_load(command, file, names, told, after=chance.randrange(20, 150))
            audit = await asyncio.create_subprocess_exec(
                command, "check", "--config", str(file), "--json", stdout=asyncio.subprocess.PIPE
            )
            report, _ = await audit.communicate()
            assert (audit.returncode, json.loads(report.splitlines()[-1])["clean"]) == (0, True)
        async with started(command, file) as (process, channel):
            await found_again(SemanticCacheServiceStub(channel), told)
            process.terminate()
            assert await process.wait() == 0

    settings = StoreSettings(path=tmp_path / "store")
    assert check(settings).clean
    store = LmdbStore.open(settings, FakeClock(), secret_key_ids=[secret_key_id(SECRET)])
    lines = {line.request_id: line.spent.total_nanousd for line in store.ledger.records(None, 0, 1e11)}
    rolled_up = sum(hour.spent_nanousd for hour in store.ledger.hours(None, 0, 1e11))
    await store.close()
    assert told.spent.items() <= lines.items()
    assert rolled_up == sum(lines.values()) >= sum(told.spent.values()) > 0
    assert told.stored
    assert told.completed
