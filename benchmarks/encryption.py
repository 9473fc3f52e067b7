"""Measure what encryption at rest costs: the same work on a store in clear and on an encrypted one, in one run.

`python -m benchmarks.encryption`. Two servers for each kind of hit run on core 0, the generator on the others; rounds
alternate between the two, so that a noisy moment affects both. A ratio above 1 is what encryption costs.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.bare_embedding import BareEmbedding
from benchmarks.load import COMPLETE, Generators, write_requests
from benchmarks.measurements import Measurement, ratios, report
from benchmarks.prompts import rewordings, short_prompts
from benchmarks.server_process import ServerProcess, answer_mark, complete_request, scratch
from benchmarks.worker import cores
from semcache.model import ZERO_COST, Answer, Entry, Usage
from semcache.settings import StoreSettings
from semcache.store import LmdbStore
from semcache.testing.clock import FakeClock

ROUNDS = 7
ENTRIES = 1_000
STORED_PER_ROUND = 128
SEMANTIC_PER_ROUND = 128
CALLERS = 64
ANSWER_CHARS = 720
VECTORS = 20_000
DIMENSION = 384
KINDS = ("clear", "encrypted")
MOST = 1.15


def main() -> None:
    with scratch() as folder:
        key = folder / "master.key"
        key.write_text(secrets.token_hex(32))
        options = {"clear": {}, "encrypted": {"encryption": {"key": {"file": str(key)}}}}
        measurements = [*_of_servers(folder, options), *_of_loads(folder, options)]
    report(
        "encryption",
        measurements,
        notes=[
            f"Processor time of the server: {ENTRIES:,} entries, {CALLERS} callers, answers of {ANSWER_CHARS} letters.",
            "From disk: the exact tier keeps nothing in memory, so that each hit reads its row.",
            f"The load is the wall time of `Vectors.load`: {VECTORS:,} vectors of {DIMENSION} dimensions, file cached.",
        ],
    )


@dataclass(frozen=True)
class _Asking:
    """Asks a server with 64 callers."""

    generators: Generators

    def hits(self, server: ServerProcess, requests: Path, start: int, count: int) -> int:
        load = self.generators.run(
            address=server.address, method=COMPLETE, requests=requests, start=start, count=count, callers=CALLERS
        )
        return load.count("exact_hit", "semantic_hit")


def _of_servers(folder: Path, options: dict[str, dict[str, object]]) -> list[Measurement]:
    texts = short_prompts(ENTRIES + STORED_PER_ROUND * (ROUNDS + 1))
    stored, new = texts[:ENTRIES], texts[ENTRIES:]
    with BareEmbedding(folder / "embedding.log") as embedding:
        vectors = embedding.vectors(texts)
    first, *others = cores()
    asked = [(complete_request(text), [answer_mark(number)]) for number, text in enumerate(stored)]
    exact = write_requests(folder / "exact", asked)
    reworded = rewordings(stored, SEMANTIC_PER_ROUND * (ROUNDS + 1), seed=1)
    semantic = write_requests(
        folder / "semantic", [(complete_request(text), [answer_mark(number)]) for number, text in reworded]
    )
    cpus: dict[tuple[str, str], list[float]] = {}

    def note(what: str, kind: str, cpu_s: float) -> None:
        cpus.setdefault((what, kind), []).append(cpu_s * 1e6)

    asking = _Asking(Generators(folder / "load.log", cores=others or [first]))
    for place, memory in (("memory", {}), ("disk", {"exact_cache_bytes": 1})):
        servers = {}
        for kind in KINDS:
            (folder / f"{place}-{kind}").mkdir()
            servers[kind] = ServerProcess(
                folder / f"{place}-{kind}",
                cores=[first],
                embedding={"threads": 1},
                store={**options[kind], **memory},
            )
            servers[kind].fill(stored, vectors[:ENTRIES], ANSWER_CHARS)
        for number in range(ROUNDS + 1):  # the first one warms connections and caches
            for kind in KINDS if number % 2 else KINDS[::-1]:
                server = servers[kind]

                before = server.cpu_s()
                hits = asking.hits(server, exact, 0, ENTRIES)
                note(f"exact hit from {place}", kind, (server.cpu_s() - before) / hits)
                if place == "disk":
                    continue
                before = server.cpu_s()
                hits = asking.hits(server, semantic, number * SEMANTIC_PER_ROUND, SEMANTIC_PER_ROUND)
                note("semantic hit", kind, (server.cpu_s() - before) / hits)
                part = slice(number * STORED_PER_ROUND, (number + 1) * STORED_PER_ROUND)
                before = server.cpu_s()
                server.fill(new[part], vectors[ENTRIES:][part], ANSWER_CHARS)
                note("Store", kind, (server.cpu_s() - before) / STORED_PER_ROUND)
        for server in servers.values():
            server.close()
    asking.generators.close()
    measurements = []
    for what in dict.fromkeys(what for what, _ in cpus):
        clear, encrypted = (cpus[what, kind][1:] for kind in KINDS)
        limit = MOST if what.startswith("exact") else None
        measurements += [
            Measurement(f"{what}: CPU encrypted / clear", "×", ratios(encrypted, clear), at_most=limit),
            Measurement(f"{what}: CPU in clear", "µs", tuple(clear)),
        ]
    return measurements


def _of_loads(folder: Path, options: dict[str, dict[str, object]]) -> list[Measurement]:
    raw = np.random.default_rng(0).standard_normal((VECTORS, DIMENSION)).astype(np.float32)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    stores = {kind: asyncio.run(_filled(folder / f"load-{kind}", options[kind], raw)) for kind in KINDS}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind, settings in stores.items():
            times[kind].append(asyncio.run(_load_s(settings)))
    milliseconds = tuple(seconds * 1e3 for seconds in times["clear"])
    return [
        Measurement("load of 20,000 vectors: encrypted / clear", "×", ratios(times["encrypted"], times["clear"])),
        Measurement("load of 20,000 vectors in clear", "ms", milliseconds),
    ]


def _opened(settings: StoreSettings) -> LmdbStore:
    return LmdbStore.open(settings, FakeClock(), secret_key_ids=["benchmark"])


async def _filled(path: Path, options: dict[str, object], vectors: np.ndarray) -> StoreSettings:
    settings = StoreSettings(path=path, map_size_bytes=1 << 30, **options)
    store = _opened(settings)
    for start in range(0, VECTORS, 512):
        await asyncio.gather(
            *(
                store.entries.put(_entry(number), vectors[number], None)
                for number in range(start, min(start + 512, VECTORS))
            )
        )
    await store.close()
    return settings


def _entry(number: int) -> Entry:
    text = f"question {number}"
    answer = Answer(
        body=b"{}", model="m", finish_reason="stop", usage=Usage(1, 0, 1), text="", target_model="m", route="r"
    )
    return Entry(
        tenant="t",
        namespace="n",
        alias="m",
        exact_key=number.to_bytes(32, "big"),
        partition=bytes(32),
        text=text,
        answer=answer,
        cost=ZERO_COST,
        created_s=FakeClock().wall(),
        expires_s=FakeClock().wall() + 3600,
    )


async def _load_s(settings: StoreSettings) -> float:
    store = _opened(settings)
    started = time.perf_counter()
    ids, _ = store.vectors.load(bytes(32))
    elapsed_s = time.perf_counter() - started
    if len(ids) != VECTORS:
        raise RuntimeError(f"{len(ids)} of {VECTORS} vectors were read")
    await store.close()
    return elapsed_s


if __name__ == "__main__":
    main()
