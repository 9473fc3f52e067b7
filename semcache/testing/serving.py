"""A real server in this process: real gRPC, LMDB and FAISS, with fakes for the model and the upstream."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from semcache.ports import Clock
from semcache.server.app import Application
from semcache.settings import Settings, load_settings
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.upstream import ScriptedUpstream
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub


@dataclass(frozen=True, slots=True)
class Served:
    """What a test holds of a running server."""

    application: Application
    settings: Settings
    upstream: ScriptedUpstream
    embedder: HashingEmbedder
    channel: grpc.aio.Channel

    @property
    def address(self) -> str:
        """Where it listens."""
        return self.application.address

    @property
    def stub(self) -> SemanticCacheServiceStub:
        """The calls, over `channel`."""
        return SemanticCacheServiceStub(self.channel)


@asynccontextmanager
async def serving(
    overrides: Mapping[str, Any] | None = None,
    *,
    upstream: ScriptedUpstream | None = None,
    embedder: HashingEmbedder | None = None,
    clock: Clock | None = None,
    path: Path | None = None,
) -> AsyncIterator[Served]:
    """A server on a free port for as long as the block runs.

    Args:
        overrides: settings by section, over the defaults.
        upstream: what answers; by default every prompt gets "Answer to: …".
        embedder: what embeds; by default by hashing words.
        clock: what time it is; by default the real one.
        path: where the store lies; by default in a folder that goes with the block.
    """
    async with AsyncExitStack() as stack:
        if path is None:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="semcache-")))
        sections: dict[str, dict[str, Any]] = {
            "server": {"port": 0, "grace_s": 5.0},
            "metrics": {"port": 0},
            "store": {"path": path, "map_size_bytes": 1 << 30},
        }
        for section, fields in (overrides or {}).items():
            sections[section] = {**sections.get(section, {}), **fields}
        settings = load_settings(None, sections)
        upstream, embedder = upstream or ScriptedUpstream(), embedder or HashingEmbedder()
        application = await Application.start(settings, embedder=embedder, upstream=upstream, clock=clock)
        stack.push_async_callback(application.stop)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(application.address))
        yield Served(application, settings, upstream, embedder, channel)
