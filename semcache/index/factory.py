"""Checks that FAISS is there, and once; chooses the device, says which and why, and puts the index together."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from semcache.errors import StartError
from semcache.ports import VectorIndex
from semcache.settings import IndexSettings

if TYPE_CHECKING:
    from semcache.index.faiss_index import Load, OnSearch

_log = structlog.get_logger(__name__)
_DISTRIBUTIONS = ("faiss-cpu", "faiss-gpu")
_BLAS_ROWS = 8
"""Queries from which a batch goes through BLAS. faiss's own default counts queries × dimension and never reaches it."""


def installed_faiss() -> str:
    """Name and version of the one FAISS distribution.

    Raises:
        StartError: there is none, or both of those that own the same folder.
    """
    found = []
    for name in _DISTRIBUTIONS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    if not found:
        raise StartError(
            "FAISS is not installed.",
            hint="Install semcache-server[cpu], or semcache-server[gpu] on a machine with an NVIDIA GPU.",
        )
    if len(found) > 1:
        raise StartError(
            f"{' and '.join(found)} are both installed and overwrite each other's files.",
            hint="Uninstall both, then install exactly one of semcache-server[cpu] and semcache-server[gpu].",
        )
    return found[0]


def open_index(
    settings: IndexSettings,
    dimension: int,
    load: Load,
    *,
    on_search: OnSearch | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> VectorIndex:
    """An index on the device that the settings and the machine allow; loads nothing yet.

    Args:
        settings: the index section.
        dimension: length of a vector.
        load: all vectors of a partition from the store, ids (n,) and unit vectors (n, dimension); called on the worker
            thread.
        on_search: called from the worker thread after each batch with its searches and its seconds.
        monotonic: seconds, for those given to `on_search`.

    Raises:
        StartError: FAISS is missing, there twice or broken, or the settings want a GPU that isn't there.
    """
    distribution = installed_faiss()
    try:
        import faiss
    except ImportError as error:
        raise StartError(
            f"{distribution} is installed and can't be imported: {error}.",
            hint="Reinstall it; faiss-gpu needs an NVIDIA driver's libraries.",
        ) from error
    from threadpoolctl import ThreadpoolController

    from semcache.index.bfloat16 import open_product
    from semcache.index.faiss_index import FaissIndex
    from semcache.index.partition import Plan, product

    # A build for CPUs alone has no such function; StandardGpuResources() would succeed even without a GPU.
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    if settings.device == "gpu" and gpus == 0:
        raise StartError(
            f"index.device is gpu and {distribution} sees no GPU.",
            hint="Install semcache-server[gpu] and a driver, or set index.device to auto or cpu.",
        )
    on_gpu = settings.device != "cpu" and gpus > 0
    gpu_empty = None
    if on_gpu:
        from semcache.index.gpu import gpu_flat_factory

        gpu_empty = gpu_flat_factory(dimension)
    faiss.cvar.distance_compute_blas_threshold = _BLAS_ROWS * dimension
    # numpy's BLAS would take every core, and keep them spinning for a while after each product.
    ThreadpoolController().select(internal_api="openblas").limit(limits=settings.threads)
    rounded_product, products = None, "float32, as set"
    if settings.flat_products != "float32":
        rounded_product, products = open_product(dimension, settings.threads, product)
    plan = Plan(
        numpy_below=settings.numpy_below,
        ivf_above=None if on_gpu else settings.flat_below,
        gpu_from=settings.gpu_from if on_gpu else None,
        gpu_empty=gpu_empty,
        nprobe=settings.nprobe,
        overfetch=settings.overfetch,
        rounded_product=rounded_product,
    )
    why = "as set" if settings.device != "auto" else f"faiss sees {gpus} GPUs"
    _log.info(
        "index_open",
        device="gpu" if on_gpu else "cpu",
        why=why,
        library=distribution,
        dimension=dimension,
        products="float32" if rounded_product is None else "bfloat16, then float32",
        products_why=products,
    )
    return FaissIndex(settings, dimension, load, plan=plan, monotonic=monotonic, on_search=on_search)
