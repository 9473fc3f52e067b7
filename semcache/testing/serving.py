"""A real server in this process: real gRPC, LMDB and FAISS, with fakes for the model and the upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from semcache.ports import Clock
from semcache.server.app import Application
from semcache.server.clock import SystemClock
from semcache.server.temporary import temporary_server_with
from semcache.settings import Settings
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
        """Host and port as clients take them."""
        return self.application.address

    @property
    def http_url(self) -> str:
        """The base URL of the HTTP front."""
        return f"http://{self.application.http_address}"

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
    """Run a server on a free port for as long as the block runs.

    Args:
        overrides: settings by section, over the defaults.
        upstream: the upstream; None: every prompt gets "Answer to: " and the prompt.
        embedder: the embedder; None: one that hashes words.
        clock: the time; None: the real one.
        path: where the store lies; None: in a folder that goes with the block.
    """
    upstream, embedder = upstream or ScriptedUpstream(), embedder or HashingEmbedder()
    async with (
        temporary_server_with(
            overrides or {}, path, embedder=embedder, upstream=upstream, clock=clock or SystemClock()
        ) as application,
        grpc.aio.insecure_channel(application.address) as channel,
    ):
        yield Served(application, application.composition.settings, upstream, embedder, channel)
