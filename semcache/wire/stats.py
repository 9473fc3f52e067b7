"""From a process's snapshot to the message of a GetStats."""

from __future__ import annotations

from semcache.model import EmbedderStats, IndexStats, Snapshot
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.outgoing import duration, request_counts, timestamp
from semcache.wire.texts import utf8


def stats_response(snapshot: Snapshot) -> pb.GetStatsResponse:
    """Return the message of a GetStats."""
    return pb.GetStatsResponse(
        version=snapshot.version,
        start_time=timestamp(snapshot.started_s),
        uptime=duration(snapshot.uptime_s),
        requests=request_counts(snapshot.requests),
        hit_ratio=snapshot.hit_ratio,
        entries=snapshot.store.entries,
        store_bytes=snapshot.store.used_bytes,
        store_limit_bytes=snapshot.store.max_bytes,
        evictions=snapshot.store.evictions,
        expirations=snapshot.store.expirations,
        indexes=_indexes(snapshot.index),
        queues=[
            pb.QueueStats(name=queue.name, depth=queue.depth, capacity=queue.capacity) for queue in snapshot.queues
        ],
        embedder=_embedder(snapshot.embedder),
        unpriced_models=[
            pb.UnpricedModel(model=utf8(model), requests=count) for model, count in snapshot.unpriced_models.items()
        ],
        spent_nanousd=snapshot.spent_nanousd,
        saved_nanousd=snapshot.saved_nanousd,
        verdicts_right=snapshot.verdicts.get("right", 0),
        verdicts_wrong=snapshot.verdicts.get("wrong", 0),
        whole=snapshot.whole,
    )


def _indexes(index: IndexStats) -> list[pb.IndexStats]:
    return [
        pb.IndexStats(kind=strategy, partitions=size.partitions, vectors=size.vectors)
        for strategy, size in sorted(index.by_strategy.items())
    ]


def _embedder(embedder: EmbedderStats) -> pb.EmbedderInfo:
    return pb.EmbedderInfo(
        model=embedder.model,
        fingerprint=embedder.fingerprint,
        backend=embedder.backend,
        device=embedder.device,
        precision=embedder.precision,
        dimensions=embedder.dimension,
        adapter=utf8(embedder.adapter),
    )
