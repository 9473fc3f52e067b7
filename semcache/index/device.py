"""Which device searches large partitions: a GPU by FAISS's build for it, else a GPU by torch, else the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from semcache.errors import StartError
from semcache.index.faiss_library import Faiss
from semcache.index.rows import Rows
from semcache.index.strategies.strategy import HoldingStrategy
from semcache.index.tuning import IndexTuning
from semcache.settings import IndexSettings

_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Where a GPU's driver shows itself on Linux: NVIDIA's, AMD's, and WSL's."""


@dataclass(frozen=True, slots=True)
class SearchDevice:
    """The device, and the library that searches large partitions on it.

    Attributes:
        name: "gpu" or "cpu".
        library: name and version.
        why: why this one, for the log.
        open_gpu: copies a partition's rows to the GPU; None on a CPU.
    """

    name: str
    library: str
    why: str
    open_gpu: Callable[[Rows], HoldingStrategy] | None = None


def find_device(
    settings: IndexSettings, dimension: int, tuning: IndexTuning, faiss: Faiss | StartError
) -> SearchDevice:
    """Return the device that the settings and the machine allow.

    Args:
        settings: the index section.
        dimension: length of a vector.
        tuning: the numbers that aren't settings.
        faiss: FAISS, or why it can't be used.

    Raises:
        StartError: no library sees a GPU and the settings want one, or FAISS can't be used and is needed.
    """
    reasons: list[str] = []
    if settings.device != "cpu" and settings.gpu_library != "torch":
        gpus = faiss.gpus() if isinstance(faiss, Faiss) else 0
        if isinstance(faiss, Faiss) and gpus:
            why = f"faiss sees {gpus} GPUs"
            return _gpu(settings, faiss.distribution, why, _faiss_opener(dimension, tuning))
        reasons.append("faiss sees 0 GPUs")
    if settings.device != "cpu" and settings.gpu_library != "faiss" and _torch_may_have_gpu(settings):
        library, gpu = _ask_torch()
        if gpu:
            return _gpu(settings, library, f"{library} sees {gpu}", _torch_opener(tuning))
        reasons.append(f"{library} sees no GPU")
    if settings.device == "gpu":
        raise StartError(
            f"index.device is gpu: {'; '.join(reasons)}.",
            hint="Install a driver, and semcache-server[gpu] or a CUDA build of torch, with index.gpu_library on auto; "
            "or set index.device to auto or cpu.",
        )
    if isinstance(faiss, StartError):
        raise faiss
    return SearchDevice("cpu", faiss.distribution, "as set" if settings.device == "cpu" else "; ".join(reasons))


def _gpu(settings: IndexSettings, library: str, why: str, open_gpu: Callable[[Rows], HoldingStrategy]) -> SearchDevice:
    return SearchDevice("gpu", library, why if settings.device == "auto" else "as set", open_gpu)


def _torch_may_have_gpu(settings: IndexSettings) -> bool:
    """Whether to import torch, which takes two seconds: where a GPU is wanted, or where a driver shows itself."""
    wanted = settings.device == "gpu" or settings.gpu_library == "torch"
    return wanted or any(Path(path).exists() for path in _DRIVERS)


def _ask_torch() -> tuple[str, str]:
    """Return torch's name and version, and the name of the GPU that it sees; empty where it sees none."""
    try:
        import torch
    except ImportError:
        return "torch, which can't be imported,", ""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return f"torch {torch.__version__}", name


def _faiss_opener(dimension: int, tuning: IndexTuning) -> Callable[[Rows], HoldingStrategy]:
    from semcache.index.strategies.faiss_gpu import FaissGpu, gpu_flat_factory

    empty = gpu_flat_factory(dimension)
    return lambda rows: FaissGpu(empty, rows, tuning=tuning)


def _torch_opener(tuning: IndexTuning) -> Callable[[Rows], HoldingStrategy]:
    def open_gpu(rows: Rows) -> HoldingStrategy:
        from semcache.index.strategies.torch_gpu import TorchGpu

        return TorchGpu(rows.ids, rows.matrix, device="cuda", tuning=tuning)

    return open_gpu
