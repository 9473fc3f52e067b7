"""How a partition is searched, by its size and the machine: one pure function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.index.rows import Rows
from semcache.index.strategies.strategy import HoldingStrategy
from semcache.index.tuning import TUNING, IndexTuning

NearestOne = Callable[[NDArray[np.float32], NDArray[np.float32], int], tuple[NDArray[np.float32], NDArray[np.int64]]]
"""Of one query (1, dimension) and rows (n, dimension): the k largest cosines and their rows, both (1, k)."""

RoundedProduct = Callable[[NDArray[np.uint16], NDArray[np.uint16]], NDArray[np.float32]]
"""Of bfloat16 rows (n, dimension) and queries (m, dimension): their inner products, (n, m)."""


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """What the settings want and the machine has; the same for all partitions.

    Attributes:
        numpy_below: vectors below which one plain matrix product is enough.
        ivf_above: vectors above which IVF proposes candidates; None for never.
        gpu_from: vectors from which a GPU searches.
        nprobe: IVF lists searched for each query.
        overfetch: IVF candidates for each wanted neighbour.
        open_gpu: copies a partition's rows to the GPU; None without one.
        rounded_product: products of bfloat16 vectors; None where float32 is as fast.
        nearest_one: search of one query, where a library has a faster one than numpy.
        tuning: the numbers that aren't settings.
    """

    numpy_below: int
    ivf_above: int | None
    gpu_from: int
    nprobe: int
    overfetch: int
    open_gpu: Callable[[Rows], HoldingStrategy] | None = None
    rounded_product: RoundedProduct | None = None
    nearest_one: NearestOne | None = None
    tuning: IndexTuning = TUNING


@dataclass(frozen=True, slots=True)
class SearchChoice:
    """How one partition is to be searched.

    Attributes:
        gpu: a GPU holds the vectors and searches them.
        ivf: an IVF index proposes candidates.
        rounded: exhaustive search on the CPU multiplies in bfloat16 first.
        exhaustive_from: queries in a batch from which exhaustive search is faster than IVF.
    """

    gpu: bool = False
    ivf: bool = False
    rounded: bool = False
    exhaustive_from: float = math.inf


def choose(plan: SearchPlan, count: int, held: SearchChoice) -> SearchChoice:
    """Return how a partition of `count` vectors is to be searched.

    Args:
        plan: what the machine has.
        count: vectors in the partition.
        held: how it is searched now. What it holds stays until `count` has fallen below half the limit, so that a
            partition whose size swings around a limit isn't rebuilt each time.
    """
    tuning = plan.tuning

    def reached(limit: int, *, held: bool) -> bool:
        return count * (tuning.shrink if held else 1) >= limit

    gpu = plan.open_gpu is not None and reached(plan.gpu_from, held=held.gpu)
    ivf = plan.ivf_above is not None and reached(plan.ivf_above + (not held.ivf), held=held.ivf)
    rounded = not gpu and plan.rounded_product is not None and reached(tuning.rounded_from, held=held.rounded)
    exhaustive_from = math.inf
    if rounded and count <= tuning.exhaustive_max_rows:
        exhaustive_from = tuning.exhaustive_queries + count / tuning.exhaustive_rows
    return SearchChoice(gpu=gpu, ivf=ivf and not gpu, rounded=rounded, exhaustive_from=exhaustive_from)
