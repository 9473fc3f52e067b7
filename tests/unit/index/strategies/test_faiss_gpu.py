"""The code around FAISS's index on a GPU, over one of the CPU that appends only: tombstones, rebuilds, full memory."""

import faiss
import numpy as np
import structlog

from semcache.index.partition import Partition
from semcache.index.strategies.faiss_gpu import FaissGpu
from tests.support.partitions import DIMENSION, nearest_ids, partition, search_plan, units


def test_a_device_index_buries_and_is_rebuilt_before_the_dead_outweigh_the_living():
    made = []

    def empty():
        made.append(faiss.IndexFlatIP(DIMENSION))
        return made[-1]

    part = partition(3000, ivf_above=None, open_gpu=lambda rows: FaissGpu(empty, rows))
    assert part.kind == "gpu"
    rows = units(3000)
    for entry_id in range(1, 1001):
        part.remove(entry_id)
    assert len(made) == 1
    assert nearest_ids(part, rows[0], 2000) == nearest_ids(partition_of(part, rows), rows[0], 2000)
    for entry_id in range(1001, 1101):
        part.remove(entry_id)
    assert len(made) == 2
    assert nearest_ids(part, rows[1100], 1) == [1101]
    for entry_id in range(1101, 2980):
        part.remove(entry_id)
    assert part.kind == "flat"


def test_a_device_without_memory_leaves_the_partition_on_the_cpu():
    def full():
        raise RuntimeError("out of memory\non the device")

    with structlog.testing.capture_logs() as logs:
        part = partition(60, ivf_above=None, open_gpu=lambda rows: FaissGpu(full, rows))
        part.add(61, units(1, seed=6)[0])
    assert part.kind == "flat"
    assert nearest_ids(part, units(60)[4], 1) == [5]
    assert [line["event"] for line in logs] == ["index.gpu_failed"]


def partition_of(part: Partition, rows: np.ndarray) -> Partition:
    """Return a partition that searches the vectors of `part` exhaustively, on the CPU."""
    ids = np.array(sorted(nearest_ids(part, rows[0], 10**6)))
    return Partition(search_plan(ivf_above=None), ids, rows[ids - 1])


def test_tombstones_next_to_the_query_never_hide_the_living():
    base = units(1)[0]
    near = base + 1e-3 * units(200, seed=2)
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    rows = np.concatenate([near, units(100, seed=3)])
    plan = search_plan(ivf_above=None, open_gpu=lambda rows: FaissGpu(lambda: faiss.IndexFlatIP(DIMENSION), rows))
    part = Partition(plan, np.arange(1, 301), rows)
    for entry_id in range(1, 201):
        part.remove(entry_id)
    assert len(nearest_ids(part, base, 5)) == 5
