"""The short form of the nightly streams: 100 replayed and 20 live streams are open at once, and some clients leave."""

from __future__ import annotations

from semcache.server.temporary import temporary_server_with
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.upstream_server import ScriptedServer
from tests.nightly.streams import Upstream, play, sections

REPLAYED, LIVE = 100, 20
PAUSE_S = 0.1
"""A replayed stream is so open for four seconds."""


async def test_no_stream_stalls_another_and_whoever_leaves_frees_a_place() -> None:
    upstream = Upstream()
    async with (
        ScriptedServer(upstream, keep_requests=False) as provider,
        temporary_server_with(
            sections(provider.base_url, REPLAYED + LIVE, PAUSE_S), embedder=HashingEmbedder()
        ) as server,
    ):
        gate = server.composition.gate

        async def in_flight() -> int:
            return gate.in_flight

        streams = await play(str(server.http_address), upstream, replayed=REPLAYED, live=LIVE, in_flight=in_flight)
    assert streams.problems == {}
    assert (streams.open_at_once, streams.left) == (120, 12)
