"""A process whose disk fails on order (`failing_disk.c`): a store, or a whole server, is used meanwhile.

Each line that it prints is a JSON object.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from semcache.errors import SemcacheError
from semcache.observe.logs import configure_logging
from semcache.server.process import serve
from semcache.settings import LogSettings, load_settings
from semcache.store import LmdbStore, committing, writer
from semcache.testing.clock import FakeClock
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.upstream import ScriptedUpstream
from semcache.v1 import semcache_pb2 as pb
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub
from tests.integration.calls import prompt
from tests.support.stored import SECRET, digest, entry, record, served, store_settings, vector

ORDERS = Path(os.environ["FAILING_DISK"])
writer.RETRY_WAIT_S = 0.05
committing.BROKEN_AFTER_S = 0.5


def fail(where: str, code: int, count: int) -> None:
    """Let the next `count` calls of a kind fail; a negative count never ends."""
    ORDERS.write_text(f"{where} {code} {count}", "utf-8")


def tell(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


async def use_store(path: Path, faults: list[tuple[str, int, int]]) -> None:
    """Use a store while its disk fails in several ways, one after the other."""
    store = LmdbStore.open(store_settings(path), FakeClock(), secret_key_ids=[SECRET])
    for where, code, count in faults:
        name = f"{where}-{code}-{count}"
        fail(where, code, count)
        store.ledger.record(record(f"hit {name}"), served(f"hit {name}"))
        writes = [
            store.entries.put(entry(name), vector(1), record(f"spend {name}")),
            store.ledger.record_durably(record(f"alone {name}")),
        ]
        results = await asyncio.gather(*writes, return_exceptions=True)
        told = [result.reason if isinstance(result, SemcacheError) else "ok" for result in results]
        fail("all", 0, 0)
        after = await store.entries.put(entry(f"after {name}"), vector(2), record(f"after {name}"))
        await store.ledger.flush()
        ids, _ = await asyncio.to_thread(store.vectors.load, digest("partition"))
        lines = await asyncio.to_thread(lambda: [line.request_id for line in store.ledger.records(None, 0, 1e11)])
        found = await store.entries.find_exact(digest(name))
        tell(
            fault=name,
            told=told,
            stored=found is not None,
            searched=after.entry_id in ids.tolist(),
            lines=sorted(line for line in lines if line.endswith(name)),
            served=await store.verdicts.served(f"hit {name}") is not None,
            writable=store.stats().is_writable,
            reopened=store.stats().reopened,
        )
    await store.close()


async def use_server(path: Path) -> None:
    """Use a server whose disk fails for good; it ends by itself, with an error."""
    overrides = {
        "server": {"port": 0, "http": {"port": 0}, "grace_s": 1},
        "metrics": {"enabled": False},
        "store": {"path": path, "map_size_bytes": 64 << 20},
        "keys": {"secret": "a secret of the tests' own"},
        "upstream": {"targets": [{"name": "x", "base_url": "http://127.0.0.1:9/v1", "provider": "any"}]},
    }
    settings = load_settings(None, overrides)
    using: list[asyncio.Task[None]] = []

    async def use(address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            stub, health = SemanticCacheServiceStub(channel), health_pb2_grpc.HealthStub(channel)
            await stub.Complete(pb.CompleteRequest(prompt=prompt("What is durable?")))
            fail("all", 5, -1)
            answered = await stub.Complete(pb.CompleteRequest(prompt=prompt("Who answers now?")))
            tell(text=answered.text, skipped=answered.outcome.store_skipped_reason)
            async for state in health.Watch(health_pb2.HealthCheckRequest()):
                tell(health=health_pb2.HealthCheckResponse.ServingStatus.Name(state.status))
                if state.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                    return

    await serve(
        settings,
        on_ready=lambda application: using.append(asyncio.ensure_future(use(application.address))),
        embedder=HashingEmbedder(),
        upstream=ScriptedUpstream(),
    )


if __name__ == "__main__":
    configure_logging(LogSettings(format="json"))
    kind, folder = sys.argv[1], Path(sys.argv[2])
    asyncio.run(use_server(folder) if kind == "server" else use_store(folder, json.loads(sys.argv[3])))
