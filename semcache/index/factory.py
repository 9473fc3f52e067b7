"""Looks at what is installed and which devices there are, chooses, says what and why, and puts the index together."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from semcache.errors import StartError
from semcache.index.bfloat16 import open_product
from semcache.index.choice import RoundedProduct, SearchPlan
from semcache.index.device import find_device
from semcache.index.faiss_library import Faiss, import_faiss
from semcache.index.partitioned_index import PartitionedIndex
from semcache.index.residents import Load
from semcache.index.strategies.flat import product
from semcache.index.tuning import TUNING
from semcache.index.worker import OnSearch
from semcache.ports import VectorIndex
from semcache.settings import IndexSettings

_log = structlog.get_logger(__name__)


def open_index(
    settings: IndexSettings,
    dimension: int,
    load: Load,
    *,
    on_search: OnSearch | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> VectorIndex:
    """Return an index on the device that the settings and the machine allow; it loads nothing yet.

    FAISS is needed for IVF on a CPU alone: where torch searches on a GPU, the index runs without it.

    Args:
        settings: the index section.
        dimension: length of a vector.
        load: reads all vectors of a partition from the store, ids (n,) and unit vectors (n, dimension); called on the
            worker thread.
        on_search: called from the worker thread after each batch with its searches and its seconds.
        monotonic: seconds, for those given to `on_search`.

    Raises:
        StartError: FAISS is missing, there twice or broken and no GPU makes it needless, or the settings want a GPU
            that no library sees.
    """
    faiss = _faiss_if_usable()
    device = find_device(settings, dimension, TUNING, faiss)
    from threadpoolctl import ThreadpoolController  # comes with the extras; without them the line above has raised

    # numpy's BLAS would take every core, and keep them spinning for a while after each product.
    ThreadpoolController().select(internal_api="openblas").limit(limits=settings.threads)
    rounded_product, products_why = _rounded_product(settings, dimension)
    plan = SearchPlan(
        numpy_below=settings.numpy_below,
        ivf_above=settings.flat_below if device.open_gpu is None else None,
        gpu_from=settings.gpu_from,
        nprobe=settings.nprobe,
        overfetch=settings.overfetch,
        open_gpu=device.open_gpu,
        rounded_product=rounded_product,
        nearest_one=faiss.nearest_one if isinstance(faiss, Faiss) else None,
    )
    _log.info(
        "index.opened",
        device=device.name,
        why=device.why,
        library=device.library,
        faiss=faiss.distribution if isinstance(faiss, Faiss) else f"{faiss.message} Only IVF on a CPU needs it.",
        dimension=dimension,
        products="float32" if rounded_product is None else "bfloat16, then float32",
        products_why=products_why,
    )
    on_start = faiss.prepare(dimension, settings.threads) if isinstance(faiss, Faiss) else None
    return PartitionedIndex(
        settings, dimension, load, plan=plan, monotonic=monotonic, on_search=on_search, on_start=on_start
    )


def _faiss_if_usable() -> Faiss | StartError:
    try:
        return import_faiss()
    except StartError as error:
        return error


def _rounded_product(settings: IndexSettings, dimension: int) -> tuple[RoundedProduct | None, str]:
    """Return the bfloat16 product where it is allowed and faster, and why or why not."""
    if settings.flat_products == "float32":
        return None, "float32, as set"
    return open_product(dimension, settings.threads, product)
