"""One partition in memory: its exact rows, and the strategies that search them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import structlog
from numpy.typing import NDArray

from semcache.index.choice import SearchChoice, SearchPlan, choose
from semcache.index.rows import Rows
from semcache.index.strategies.flat import Flat
from semcache.index.strategies.rounded import Rounded
from semcache.index.strategies.strategy import HoldingStrategy
from semcache.model import Neighbour

if TYPE_CHECKING:  # these two import FAISS, which a machine without IVF needn't have
    from semcache.index.strategies.ivf import Ivf
    from semcache.index.strategies.ivf_codes import IvfCodes
    from semcache.index.strategies.ivf_filling import IvfFilling

_log = structlog.get_logger(__name__)


class Partition:
    """The vectors of one partition. Used by the index's worker alone.

    Exhaustive search on the CPU (`Flat` or `Rounded`) is always possible; by `choose` an IVF index or a GPU's copy
    stands beside it. A GPU that fails, as when its memory is full, is given up for this partition.

    Args:
        plan: what the settings want and the machine has.
        ids: entry ids, (n,), each once.
        vectors: their unit vectors, (n, dimension); copied.

    Attributes:
        training: an IVF index is being trained, or its training failed and isn't tried again.
        counted: kind and size as `Residents` last counted them.
    """

    def __init__(self, plan: SearchPlan, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        self._plan = plan
        self._choice = choose(plan, len(ids), SearchChoice())
        self._rows = Rows(ids, vectors, split=self._choice.rounded)
        self._flat = Flat(self._rows, numpy_below=plan.numpy_below, nearest_one=plan.nearest_one, tuning=plan.tuning)
        self._rounded: Rounded | None = None
        self._ivf: Ivf | None = None
        self._filling: IvfFilling | None = None
        self._gpu: HoldingStrategy | None = None
        self.training = False
        self.counted = ("", 0)
        self._follow_size()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def kind(self) -> str:
        """How it is searched now: numpy, flat, ivf or gpu."""
        if self._gpu is not None:
            return "gpu"
        if self._ivf is not None:
            return "ivf"
        return "numpy" if len(self._rows) < self._plan.numpy_below else "flat"

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Neighbour]]:
        """Return up to `k` nearest of each unit vector (m, dimension), by exact cosine, nearest first."""
        k = min(k, len(self._rows))
        if k == 0:
            return [[] for _ in queries]
        if self._gpu is not None:
            try:
                return self._gpu.search(queries, k)
            except RuntimeError as error:
                self._give_gpu_up(error)
        if self._ivf is not None and len(queries) < self._choice.exhaustive_from:
            return self._ivf.search(queries, k)
        if self._rounded is None:
            return self._flat.search(queries, k)
        neighbours = self._rounded.search(queries, k)
        if self._rounded.is_too_dense:
            self._plan = dataclasses.replace(self._plan, rounded_product=None)
            self._follow_size()
        return neighbours

    def add(self, entry_id: int, vector: NDArray[np.float32]) -> None:
        """Add a vector or replace the one under the same id."""
        if entry_id in self._rows:
            if np.array_equal(self._rows.gather([entry_id])[0], vector):
                return  # the load's snapshot held it already
            self.remove(entry_id)
        self._rows.add(entry_id, vector)
        ids, vectors = np.array([entry_id], dtype=np.int64), np.asarray(vector, dtype=np.float32)[None, :]
        if self._ivf is not None:
            self._ivf.add(ids, vectors)
        if self._filling is not None:
            self._filling.add(ids, vectors)
        self._change_gpu(lambda gpu: gpu.add(ids, vectors))
        self._follow_size()

    def remove(self, entry_id: int) -> None:
        """Remove a vector; an unknown id is ignored."""
        if not self._rows.remove(entry_id):
            return
        if self._ivf is not None:
            self._ivf.remove(entry_id)
        if self._filling is not None:
            self._filling.remove(entry_id)
        self._change_gpu(lambda gpu: gpu.remove(entry_id))
        self._follow_size()

    @property
    def wants_training(self) -> bool:
        """Whether an IVF index should be trained now."""
        if not self._choice.ivf or self.training or self._filling is not None:
            return False
        return self._ivf is None or len(self._rows) > self._plan.tuning.retrain_growth * self._ivf.trained_for

    def sample(self, size: int) -> NDArray[np.float32]:
        """Return a copy of `size` vectors to train on, or of all where there are fewer."""
        return self._rows.sample(size, seed=len(self._rows))

    def begin_filling(self, trained: IvfCodes) -> None:
        """Take a trained, empty index, which `fill` fills; changes meanwhile reach it at once."""
        from semcache.index.strategies.ivf_filling import IvfFilling

        self.training = False
        self._filling = IvfFilling(trained, self._rows.ids.copy())

    @property
    def filling(self) -> bool:
        """Whether an index is being filled."""
        return self._filling is not None

    def fill(self, count: int) -> None:
        """Handle the next `count` vectors of the index that is being filled; search by it when it holds all."""
        filling = self._filling
        if filling is None:
            return
        filling.advance(count, self._rows)
        if not filling.finished:
            return
        from semcache.index.strategies.ivf import Ivf

        plan = self._plan
        self._filling = None
        self._ivf = Ivf(filling.codes, self._rows, nprobe=plan.nprobe, overfetch=plan.overfetch, flat=self._flat)
        self._follow_size()

    def _follow_size(self) -> None:
        """Build and drop strategies as `choose` says for the size now."""
        plan = self._plan
        held = SearchChoice(gpu=self._gpu is not None, ivf=self._ivf is not None, rounded=self._rows.split)
        self._choice = choose(plan, len(self._rows), held)
        if not self._choice.ivf:
            self._ivf = None
        self._rows.keep(split=self._choice.rounded)
        if not self._choice.rounded:
            self._rounded = None
        elif self._rounded is None and plan.rounded_product is not None:
            self._rounded = Rounded(self._rows, plan.rounded_product, tuning=plan.tuning)
        if not self._choice.gpu:
            self._gpu = None
        elif self._gpu is None and plan.open_gpu is not None:
            try:
                self._gpu = plan.open_gpu(self._rows)
            except RuntimeError as error:
                self._give_gpu_up(error)

    def _change_gpu(self, change: Callable[[HoldingStrategy], None]) -> None:
        if self._gpu is None:
            return
        try:
            change(self._gpu)
        except RuntimeError as error:
            self._give_gpu_up(error)

    def _give_gpu_up(self, error: RuntimeError) -> None:
        """Search on the CPU from now on; FAISS and torch report full memory as a RuntimeError."""
        _log.warning("index.gpu_failed", vectors=len(self._rows), error=str(error), effect="searched on the CPU")
        self._gpu = None
        self._plan = dataclasses.replace(self._plan, open_gpu=None)
        self._follow_size()
