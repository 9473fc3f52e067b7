"""Random unit vectors, and partitions of them, for the tests of the index."""

import numpy as np

from semcache.index.choice import SearchPlan
from semcache.index.partition import Partition
from semcache.index.tuning import IndexTuning

DIMENSION = 16


def units(count: int, seed: int = 0, dimension: int = DIMENSION) -> np.ndarray:
    """Return `count` unit vectors of float32 in random directions, (count, dimension)."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def search_plan(tuning: dict | None = None, **changes) -> SearchPlan:
    """Return a plan: numpy below 8 vectors, IVF above 100, no GPU; `tuning` and `changes` replace its numbers."""
    values = {"numpy_below": 8, "ivf_above": 100, "gpu_from": 50, "nprobe": 1000, "overfetch": 50}
    return SearchPlan(**{**values, **changes}, tuning=IndexTuning(**(tuning or {})))


def partition(count: int, tuning: dict | None = None, **changes) -> Partition:
    """Return a partition of `units(count)` under the ids from 1."""
    return Partition(search_plan(tuning, **changes), np.arange(1, count + 1), units(count))


def nearest_ids(part: Partition, row: np.ndarray, k: int) -> list[int]:
    """Return the ids that a search for one vector finds."""
    return [n.entry_id for n in part.search(row[None, :], k)[0]]


def train_and_fill(part: Partition, step: int = 10) -> None:
    """Train an IVF index for the partition and fill it, `step` vectors at a time."""
    from semcache.index.strategies.ivf_codes import samples_for, train  # needs FAISS

    part.training = True
    part.begin_filling(train(part.sample(samples_for(len(part))), len(part), threads=1))
    while part.filling:
        part.fill(step)
