"""The real model on real, labelled pairs and conversations, through a real server at the shipped setting."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from semcache.server.app import Application
from semcache.settings import load_settings
from semcache.v1 import semcache_pb2 as pb
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub

pytestmark = pytest.mark.model
BATCH = 100
HITS = {pb.STATUS_EXACT_HIT, pb.STATUS_SEMANTIC_HIT}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def prompt(side: str | list[dict[str, str]], namespace: str) -> pb.Prompt:
    messages = side if isinstance(side, list) else [{"role": "user", "content": side}]
    return pb.Prompt(openai_json=json.dumps({"model": "m", "messages": messages}).encode(), namespace=namespace)


def slices(pairs: Sequence[dict[str, Any]]) -> Iterator[tuple[int, Sequence[dict[str, Any]]]]:
    for start in range(0, len(pairs), BATCH):
        yield start, pairs[start : start + BATCH]


async def served(tmp_path: Path, pairs: Sequence[dict[str, Any]]) -> list[bool]:
    """Whether each pair's second side was answered with its first side's answer; every pair on its own."""
    settings = load_settings(
        None,
        {
            "server": {"port": 0, "http": {"port": 0}, "max_wait_s": 60},  # A busy machine may take its time.
            "metrics": {"enabled": False},
            "store": {"path": tmp_path / "store"},
            # What a pair says is at stake here, not whether it may be cached.
            "cacheability": {"time_sensitive": (), "random": (), "continuation": (), "personal": ()},
        },
    )
    application = await Application.start(settings)
    try:
        async with grpc.aio.insecure_channel(application.address) as channel:
            stub = SemanticCacheServiceStub(channel)
            found: list[bool] = []
            for start, some in slices(pairs):
                stores = [
                    pb.StoreRequest(prompt=prompt(pair["a"], f"pair-{start + n}"), text="a")
                    for n, pair in enumerate(some)
                ]
                stored = await stub.StoreBatch(pb.StoreBatchRequest(requests=stores))
                assert all(result.response.stored for result in stored.results)
                lookups = [
                    pb.LookupRequest(prompt=prompt(pair["b"], f"pair-{start + n}")) for n, pair in enumerate(some)
                ]
                looked = await stub.LookupBatch(pb.LookupBatchRequest(requests=lookups))
                found += [result.response.outcome.status in HITS for result in looked.results]
            return found
    finally:
        await application.stop(1.0)


async def test_pairs_of_prompts(tmp_path: Path, shared_data: Path) -> None:
    pairs = rows(shared_data / "fow_cache" / "pairs.jsonl")
    found = await served(tmp_path, pairs)
    hits = [hit for pair, hit in zip(pairs, found, strict=True) if pair["same_answer"]]
    traps = [hit for pair, hit in zip(pairs, found, strict=True) if not pair["same_answer"]]
    # Cosine alone serves 28 % and 4.3 % at .97.
    assert sum(hits) / len(hits) > 0.30
    assert sum(traps) / len(traps) <= 0.01


@pytest.mark.parametrize("name", ["fow_cache/conv-parts", "fow_cache/conv-long", "conversations_sa"])
async def test_no_conversation_gets_anothers_answer(tmp_path: Path, shared_data: Path, name: str) -> None:
    pairs = [row for path in sorted((shared_data / name).glob("*.jsonl")) for row in rows(path)]
    traps = [pair for pair in pairs if not pair["same_answer"]]
    assert len(traps) >= 30
    assert sum(await served(tmp_path, traps)) == 0
