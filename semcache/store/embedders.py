"""Which embedder made which entries: runs of entry ids, each with the number of vectors that are left of it.

The numbers move with the entries, in their commits: nobody has to walk over the vectors to know them, at any size.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EmbedderRun:
    """Entries that were stored one after another under one embedder.

    Attributes:
        first_id: of its entries; the run ends where the next one begins.
        fingerprint: the embedder's; empty when it isn't known.
        vectors: how many of its entries are there and have a vector.
    """

    first_id: int
    fingerprint: str
    vectors: int = 0

    def plus(self, vectors: int) -> EmbedderRun:
        """With so many more vectors, or fewer; never below none."""
        return replace(self, vectors=max(0, self.vectors + vectors))


Runs = tuple[EmbedderRun, ...]
"""By first id. The last one is that of the embedder that the store was last opened for."""


def pack_runs(runs: Runs) -> bytes:
    """The meta row."""
    return json.dumps([[run.first_id, run.fingerprint, run.vectors] for run in runs]).encode()


def unpack_runs(row: bytes) -> Runs | None:
    """From the meta row; None when it is damaged."""
    try:
        return tuple(
            EmbedderRun(int(first_id), str(fingerprint), int(vectors))
            for first_id, fingerprint, vectors in json.loads(row)
        )
    except (ValueError, TypeError):
        return None


def continued(runs: Runs, next_id: int, fingerprint: str) -> Runs:
    """The runs once the store is opened for an embedder: what is put from `next_id` on is its own.

    Runs of which no vector is left are dropped, so there are never more of them than entries, however often the model
    changes.
    """
    kept: list[EmbedderRun] = []
    for run in (*(run for run in runs if run.vectors), EmbedderRun(next_id, fingerprint)):
        if kept and kept[-1].fingerprint == run.fingerprint:
            kept[-1] = kept[-1].plus(run.vectors)
        else:
            kept.append(run)
    return tuple(kept)


def position(runs: Sequence[EmbedderRun], entry_id: int) -> int | None:
    """Where the run of an entry is among the runs; None when the entry is older than all of them."""
    found = bisect_right(runs, entry_id, key=lambda run: run.first_id) - 1
    return found if found >= 0 else None


def inert(runs: Runs) -> int:
    """How many entries can't be found by meaning, since another embedder than the current one made their vectors.

    Those of an unknown embedder aren't counted; without a current embedder nothing is sought by meaning, and none are.
    """
    current = runs[-1].fingerprint if runs else ""
    return sum(run.vectors for run in runs if run.fingerprint not in {"", current}) if current else 0


def warn_of_inert(count: int) -> None:
    """Log that there are inert entries, if there are, with what can be done about it."""
    if count:
        _log.warning(
            "store.inert_entries",
            count=count,
            hint="Another embedding model made them: they aren't found by meaning until it is back. "
            "They expire by themselves; Invalidate removes them at once.",
        )
