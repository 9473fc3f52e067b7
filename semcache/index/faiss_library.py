"""Which FAISS is installed, and that it is one alone; the only module that asks."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semcache.errors import StartError

_DISTRIBUTIONS = ("faiss-cpu", "faiss-gpu")
_BLAS_QUERIES = 8
"""Queries from which a batch goes through BLAS. FAISS's own limit counts queries × dimension and is never reached."""


@dataclass(frozen=True, slots=True)
class Faiss:
    """FAISS, imported.

    Attributes:
        module: the library.
        distribution: name and version of what was installed.
    """

    module: Any
    distribution: str

    def gpus(self) -> int:
        """Return how many GPUs it sees.

        A build for CPUs alone lacks the function. `StandardGpuResources()` would succeed even without a GPU.
        """
        return int(self.module.get_num_gpus()) if hasattr(self.module, "get_num_gpus") else 0

    def prepare(self, dimension: int, threads: int) -> Callable[[], None]:
        """Set FAISS up for vectors of `dimension`; return what each thread that uses it must call first."""
        self.module.cvar.distance_compute_blas_threshold = _BLAS_QUERIES * dimension
        return partial(self.module.omp_set_num_threads, threads)

    def nearest_one(
        self, query: NDArray[np.float32], rows: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the `k` largest cosines of one query (1, dimension) with rows (n, dimension), and their rows."""
        similarities, places = self.module.knn(query, rows, k, metric=self.module.METRIC_INNER_PRODUCT)
        return similarities, places


def installed_faiss() -> str:
    """Return name and version of the one FAISS distribution.

    Raises:
        StartError: there is none, or both of those that own the same folder.
    """
    installed = []
    for name in _DISTRIBUTIONS:
        try:
            installed.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    if not installed:
        raise StartError(
            "FAISS is not installed.",
            hint="Install semcache-server[cpu], or semcache-server[gpu] on a machine with an NVIDIA GPU.",
        )
    if len(installed) > 1:
        raise StartError(
            f"{' and '.join(installed)} are both installed and overwrite each other's files.",
            hint="Uninstall both, then install exactly one of semcache-server[cpu] and semcache-server[gpu].",
        )
    return installed[0]


def import_faiss() -> Faiss:
    """Return FAISS.

    Raises:
        StartError: it is missing, there twice, or can't be imported.
    """
    distribution = installed_faiss()
    try:
        import faiss
    except ImportError as error:
        raise StartError(
            f"{distribution} is installed and can't be imported: {error}.",
            hint="Reinstall it; faiss-gpu needs an NVIDIA driver's libraries.",
        ) from error
    return Faiss(faiss, distribution)
