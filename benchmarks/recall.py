"""Recall@1 of the approximate index against exact search, and the time of one search, by size and kind.

Vectors are the embeddings of real texts (the shared data's questions and statements), with joined pairs of them where
there are too few. 1,000 real texts are held out as queries. A neighbour counts as found when its cosine equals the
exact best, within float32's error. The index's own `Partition` is searched, rescoring included, with products of
bfloat16 where the server would take them.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import platform
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.shared_data import folder
from semcache.embedding import open_embedder
from semcache.index.bfloat16 import Bfloat16Product, open_product
from semcache.index.choice import SearchPlan
from semcache.index.faiss_library import import_faiss
from semcache.index.partition import Partition
from semcache.index.strategies.flat import product
from semcache.index.strategies.ivf_codes import samples_for, train
from semcache.settings import EmbeddingSettings, IndexSettings

CACHE = Path(__file__).resolve().parent / ".cache"
FIELDS = ("text", "q", "a", "b", "raw", "rewrite", "prompt")
SOURCES = (
    "clusters/banking77_dev.jsonl",
    "traffic/clinc150_dev.jsonl",
    "traffic/bing_covid_us.jsonl",
    "pairs/paws_wiki_dev.jsonl",
    "pairs/kor_train.jsonl",
    "pairs/pawsx_dev_de.jsonl",
    "pairs/pawsx_dev_zh.jsonl",
    "pairs_sa/semantoneg.jsonl",
    "conversations/trec_cast_2019_2020.jsonl",
    "fow_cache/pairs.jsonl",
    "prompts/arena_hard_v0.1_question.jsonl",
)
CHUNK = 4096
NEAR = 0.9
FLOAT_SLACK = 2e-6
"""The sum of 384 products in float32 is off by up to 1.2e-6 here; the error depends on the order of the sum."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of index at one size; times in milliseconds for each query, medians with the range of the rounds."""

    vectors: int
    kind: str
    recall_at_1: float
    recall_at_1_near: float
    """Recall@1 over the queries whose best cosine is at least .9: those that a threshold may serve."""
    recall_at_5: float
    single_ms: float
    single_range_ms: tuple[float, float]
    batch_32_ms: float
    build_s: float


def real_texts(data: Path) -> list[str]:
    """The distinct texts of the shared data, in the files' order."""
    seen: dict[str, None] = {}
    for name in SOURCES:
        with (data / name).open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                for field in FIELDS:
                    value = row.get(field)
                    if isinstance(value, str) and 3 <= len(value) <= 400:
                        seen[value.strip()] = None
    return list(seen)


def joined(texts: Sequence[str], count: int, rng: random.Random) -> Iterator[str]:
    """`count` distinct texts made of two short real ones."""
    short = [text for text in texts if len(text) <= 60]
    seen: set[str] = set()
    while len(seen) < count:
        text = f"{rng.choice(short)}. {rng.choice(short)}"
        if text not in seen:
            seen.add(text)
            yield text


async def embed(texts: Sequence[str], console: Console) -> NDArray[np.float32]:
    """Vectors of `texts` by the default model, kept under benchmarks/.cache chunk by chunk: a stopped run goes on."""
    settings = EmbeddingSettings(max_queue=2 * CHUNK)
    embedder = open_embedder(settings)
    space = [embedder.fingerprint, embedder.stats().precision]
    chunks = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("embedding", total=len(texts))
        for start in range(0, len(texts), CHUNK):
            part = texts[start : start + CHUNK]
            digest = hashlib.sha256("\0".join([*space, *part]).encode()).hexdigest()[:32]
            kept = CACHE / f"{digest}.npy"
            if kept.is_file():
                chunks.append(np.load(kept).astype(np.float32))
            else:
                vectors = await embedder.embed(part)
                kept.parent.mkdir(parents=True, exist_ok=True)
                fresh = kept.with_suffix(".fresh.npy")
                np.save(fresh, vectors)
                fresh.rename(kept)
                chunks.append(vectors)
            progress.advance(task, len(part))
    await embedder.close()
    return np.concatenate(chunks)


def partition(
    kind: str, vectors: NDArray[np.float32], settings: IndexSettings, rounded_product: Bfloat16Product | None
) -> tuple[Partition, float]:
    """A partition of `kind` over `vectors`, ids from 0, and the seconds of making it."""
    started = time.perf_counter()
    plan = SearchPlan(
        numpy_below=len(vectors) + 1 if kind == "numpy" else 1,
        ivf_above=1 if kind == "ivf" else None,
        gpu_from=settings.gpu_from,
        nprobe=settings.nprobe,
        overfetch=settings.overfetch,
        rounded_product=rounded_product,
        nearest_one=import_faiss().nearest_one,
    )
    part = Partition(plan, np.arange(len(vectors)), vectors)
    if kind == "ivf":
        part.training = True
        part.begin_filling(train(part.sample(samples_for(len(part))), len(part), threads=settings.threads))
        while part.filling:
            part.fill(4096)
    return part, time.perf_counter() - started


def measure(
    kind: str,
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    best: NDArray[np.float64],
    *,
    rounds: int,
    rounded_product: Bfloat16Product | None,
) -> Row:
    """Recall against `best`, the exact five best cosines of each query, and times over `rounds` rounds."""
    part, build_s = partition(kind, vectors, IndexSettings(), rounded_product)
    # One by one: many at once may be searched exhaustively.
    similarities = [[n.similarity for n in part.search(query[None, :], 5)[0]] for query in queries]
    first = np.array([row[0] >= exact[0] - FLOAT_SLACK for row, exact in zip(similarities, best, strict=True)])
    fifth = np.mean(
        [sum(s >= exact[4] - FLOAT_SLACK for s in row[:5]) / 5 for row, exact in zip(similarities, best, strict=True)]
    )
    timed = queries[:200]
    singles, batches = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        for query in timed:
            part.search(query[None, :], 5)
        singles.append((time.perf_counter() - started) / len(timed) * 1e3)
        started = time.perf_counter()
        for start in range(0, 192, 32):
            part.search(timed[start : start + 32], 5)
        batches.append((time.perf_counter() - started) / 192 * 1e3)
    return Row(
        vectors=len(vectors),
        kind=part.kind,
        recall_at_1=round(float(first.mean()), 4),
        recall_at_1_near=round(float(first[best[:, 0] >= NEAR].mean()), 4) if (best[:, 0] >= NEAR).any() else 1.0,
        recall_at_5=round(float(fifth), 4),
        single_ms=round(float(np.median(singles)), 4),
        single_range_ms=(round(min(singles), 4), round(max(singles), 4)),
        batch_32_ms=round(float(np.median(batches)), 4),
        build_s=round(build_s, 2),
    )


def exact_best(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.float64]:
    """The five best cosines of each query, descending, by a plain matrix product in float64."""
    columns = vectors.T.astype(np.float64)
    best = [np.partition(queries[s : s + 64] @ columns, -5, axis=1)[:, -5:] for s in range(0, len(queries), 64)]
    return np.sort(np.concatenate(best), axis=1)[:, ::-1]


def sizes(count: int) -> Iterable[int]:
    """Sizes to measure up to `count`."""
    return sorted({size for size in (200, 1_000, 10_000, 20_000, 50_000) if size < count} | {count})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="vectors in the largest index")
    parser.add_argument("--queries", type=int, default=1_000, help="real texts held out as queries")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    console = Console(width=120)
    data = folder()
    if data is None:
        sys.exit("The shared data is not here. Set SEMCACHE_SHARED_DATA to its folder.")

    rng = random.Random(2026)
    texts = real_texts(data)
    rng.shuffle(texts)
    queries, texts = texts[: options.queries], texts[options.queries :]
    real = min(len(texts), options.count)
    filler = list(joined(texts, options.count - real, rng))
    console.print(f"{real:,} real texts, {len(filler):,} joined pairs of them, {len(queries):,} real texts as queries")
    vectors = asyncio.run(embed([*queries, *texts[:real], *filler], console))
    asked, rows = vectors[: len(queries)], vectors[len(queries) :]
    # Fillers among the real ones, so that every size holds the same mixture.
    rows = rows[np.random.default_rng(2026).permutation(len(rows))]

    import_faiss().prepare(rows.shape[1], IndexSettings().threads)()
    rounded_product, why = open_product(rows.shape[1], IndexSettings().threads, product)
    console.print(f"products: {'float32' if rounded_product is None else 'bfloat16, then float32'} ({why})")
    measured = []
    for size in sizes(options.count):
        best = exact_best(rows[:size], asked)
        kinds = (["numpy"] if size <= 1_000 else []) + ["flat"] + (["ivf"] if size >= 10_000 else [])
        measured += [
            measure(kind, rows[:size], asked, best, rounds=options.rounds, rounded_product=rounded_product)
            for kind in kinds
        ]

    table = Table(
        "vectors",
        "kind",
        "recall@1",
        "near",
        "recall@5",
        "1 query, ms",
        "range, ms",
        "of 32, ms",
        "build, s",
        title="One query and a query in batches of 32; near: of the queries whose best cosine is ≥ .9",
    )
    for row in measured:
        low, high = row.single_range_ms
        table.add_row(
            f"{row.vectors:,}",
            row.kind,
            f"{row.recall_at_1:.4f}",
            f"{row.recall_at_1_near:.4f}",
            f"{row.recall_at_5:.4f}",
            f"{row.single_ms:.3f}",
            f"{low:.3f} – {high:.3f}",
            f"{row.batch_32_ms:.3f}",
            f"{row.build_s:.1f}",
        )
    console.print(table)
    settings = IndexSettings()
    print(
        json.dumps(
            {
                "benchmark": "recall",
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                "faiss": faiss.__version__,
                "products": why,
                "real": real,
                "joined": len(filler),
                "queries": len(queries),
                "nprobe": settings.nprobe,
                "overfetch": settings.overfetch,
                "rows": [asdict(row) for row in measured],
            }
        )
    )


if __name__ == "__main__":
    main()
