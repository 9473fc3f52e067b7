"""Values for tests of the store: plausible defaults, and every field can be set."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from semcache.model import (
    ZERO_COST,
    Answer,
    Cost,
    Entry,
    LedgerRecord,
    ServedHit,
    Status,
    Usage,
    Vector,
)
from semcache.ports import Entries, Store
from semcache.settings import EncryptionSettings, MasterKeySource, StoreSettings
from semcache.testing.clock import START_WALL_S

DIMENSION = 8
SECRET = "key-1"


def digest(text: str) -> bytes:
    """32 bytes that stand for `text`."""
    return hashlib.sha256(text.encode()).digest()


def answer(text: str = "42", **fields: Any) -> Answer:
    body = b'{"object":"chat.completion","choices":[{"message":{"content":"' + text.encode() + b'"}}]}'
    defaults: dict[str, Any] = {
        "body": body,
        "model": "gpt-4o-2024-08-06",
        "finish_reason": "stop",
        "usage": Usage(12, 4, 30),
        "text": text,
        "target_model": "gpt-4o",
        "route": "openai",
        "latency_s": 0.75,
    }
    return Answer(**defaults | fields)


def entry(name: str = "a", **fields: Any) -> Entry:
    """An entry whose exact key and text follow from `name`; it lives for an hour of the fake clock."""
    defaults: dict[str, Any] = {
        "tenant": "acme",
        "namespace": "default",
        "alias": "gpt-4o",
        "exact_key": digest(name),
        "partition": digest("partition"),
        "text": f"What is {name}?",
        "answer": answer(f"The answer to {name}"),
        "cost": Cost(1_000, 200, 3_000, priced=True, price_version="2026-11"),
        "created_s": START_WALL_S,
        "expires_s": START_WALL_S + 3600,
    }
    return Entry(**defaults | fields)


def vector(seed: int = 0, dimension: int = DIMENSION) -> Vector:
    """A unit vector."""
    raw = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return (raw / np.linalg.norm(raw)).astype(np.float32)


def record(request_id: str = "r1", **fields: Any) -> LedgerRecord:
    defaults: dict[str, Any] = {
        "request_id": request_id,
        "at_s": START_WALL_S + 1.5,
        "tenant": "acme",
        "namespace": "default",
        "alias": "gpt-4o",
        "model": "gpt-4o-2024-08-06",
        "task_type": "chat",
        "status": Status.MISS,
        "usage": Usage(12, 4, 30),
        "spent": Cost(1_000, 200, 3_000, priced=True, price_version="2026-11"),
        "saved": ZERO_COST,
        "latency_s": 0.8,
    }
    return LedgerRecord(**defaults | fields)


def hit(entry_id: int, saved_nanousd: int = 0, at_s: float = START_WALL_S + 1.5) -> LedgerRecord:
    """The line of a hit on an entry."""
    saved = Cost(output_nanousd=saved_nanousd, priced=True)
    return record(f"hit {at_s}", at_s=at_s, status=Status.EXACT_HIT, entry_id=entry_id, spent=ZERO_COST, saved=saved)


def served(hit_id: str = "h1", entry_id: int = 1, **fields: Any) -> ServedHit:
    defaults: dict[str, Any] = {
        "hit_id": hit_id,
        "tenant": "acme",
        "entry_id": entry_id,
        "status": Status.SEMANTIC_HIT,
        "exact_key": digest("another question"),
        "text": "What's a?",
        "similarity": 0.98,
        "at_s": START_WALL_S,
        "vector": vector(1).astype(np.float16).tobytes(),
    }
    return ServedHit(**defaults | fields)


async def get(store: Store, entry_id: int) -> Entry | None:
    """Return the live entry of one id."""
    return (await store.entries.get_many([entry_id])).get(entry_id)


def encryption(folder: Path, *, key: bytes = bytes(32), **fields: Any) -> EncryptionSettings:
    """Encryption under a master key in a file beside the store's folder, which is written here."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"master.{key.hex()[:8]}"
    path.write_text(key.hex(), "ascii")
    return EncryptionSettings(key=MasterKeySource(file=path), **fields)


def store_settings(path: Path, **fields: Any) -> StoreSettings:
    """A small store; its map is 64 MiB of address space."""
    defaults: dict[str, Any] = {"path": path, "map_size_bytes": 64 << 20, "commit_wait_s": 0.001}
    return StoreSettings(**defaults | fields)


async def all_entries(entries: Entries, tenant: str, tag: str = "") -> list[Entry]:
    """Return the live entries of a tenant, of all pages."""
    found: list[Entry] = []
    last_id: int | None = 0
    while last_id is not None:
        page, last_id = await entries.page(tenant, last_id, tag=tag)
        found += page
    return found
