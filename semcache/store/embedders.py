"""Which embedder made which entries: runs of entry ids, each with the number of its vectors that are still stored.

The numbers change in the commits that change the entries, so no walk over the vectors is needed to know them. An entry
that was embedded anew keeps its id and counts in another run than its id lies in: the first of its new embedder.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from semcache.store import seals

_log = structlog.get_logger(__name__)

META_NAME = b"embedder_runs"
"""The name of the meta row that holds the runs."""


@dataclass(frozen=True, slots=True)
class EmbedderRun:
    """Entries that were stored in sequence under one embedder.

    Attributes:
        first_id: the lowest id of its entries; the run ends where the next run begins.
        fingerprint: the embedder's fingerprint; empty when it isn't known.
        vectors: how many entries are stored whose vector counts here: its own, and those that were embedded anew.
    """

    first_id: int
    fingerprint: str
    vectors: int = 0

    def plus(self, vectors: int) -> EmbedderRun:
        """Return the run with `vectors` more vectors, or fewer if negative; never below 0."""
        return replace(self, vectors=max(0, self.vectors + vectors))


Runs = tuple[EmbedderRun, ...]
"""Runs by first id. The last run is that of the embedder that the store was last opened for."""


def pack_runs(runs: Runs) -> bytes:
    """Return the meta row of the runs."""
    payload = json.dumps([[run.first_id, run.fingerprint, run.vectors] for run in runs]).encode()
    return seals.sealed_row(META_NAME, payload)


def unpack_runs(row: bytes) -> Runs | None:
    """Return the runs of a meta row; None when it is damaged."""
    payload = seals.payload_of(META_NAME, row, bare=row.endswith(b"]"))
    try:
        return (
            None
            if payload is None
            else tuple(
                EmbedderRun(int(first_id), str(fingerprint), int(vectors))
                for first_id, fingerprint, vectors in json.loads(payload)
            )
        )
    except (ValueError, TypeError):
        return None


def continued(runs: Runs, next_id: int, fingerprint: str) -> Runs:
    """Return the runs after the store was opened for an embedder, which makes the entries from `next_id` on.

    Runs without a vector are dropped, so there are never more runs than entries, however often the model changes.
    """
    kept: list[EmbedderRun] = []
    for run in (*(run for run in runs if run.vectors), EmbedderRun(next_id, fingerprint)):
        if kept and kept[-1].fingerprint == run.fingerprint:
            kept[-1] = kept[-1].plus(run.vectors)
        else:
            kept.append(run)
    return tuple(kept)


def position(runs: Sequence[EmbedderRun], entry_id: int, embedder: str = "") -> int | None:
    """Return the position of the run in which an entry's vector counts; None when the entry is older than all runs.

    That is the first run of `embedder`, the one that embedded it anew. A later run of the same embedder may come and
    go, but the first one stays for as long as it has vectors. Without such a run it is the one in which its id lies.
    """
    if embedder:
        for at, run in enumerate(runs):
            if run.fingerprint == embedder:
                return at
    at = bisect_right(runs, entry_id, key=lambda run: run.first_id) - 1
    return at if at >= 0 else None


def inert(runs: Runs) -> int:
    """Return how many entries the semantic tier can't find, because another embedder made their vectors.

    Entries of an unknown embedder aren't counted. Without a current embedder there is no semantic search: then it is 0.
    """
    current = runs[-1].fingerprint if runs else ""
    return sum(run.vectors for run in runs if run.fingerprint not in {"", current}) if current else 0


def others(runs: Runs) -> tuple[str, ...]:
    """Return the fingerprints of other embedders than the current one whose vectors are stored, the latest first."""
    if not runs or not runs[-1].fingerprint:
        return ()
    names = {run.fingerprint: None for run in reversed(runs) if run.vectors}
    return tuple(name for name in names if name not in {"", runs[-1].fingerprint})


def warn_of_inert(count: int) -> None:
    """Log how many entries are inert, if any, and what can be done about it."""
    if count:
        _log.warning(
            "store.inert_entries",
            count=count,
            hint="Another embedding model or adapter made them: they aren't found by meaning until they are embedded "
            "anew, or until it is back. A partition is embedded anew in the background once a request asks for it. The "
            "others expire by themselves; Invalidate removes them at once.",
        )
