"""Chooses the backend that fits the machine, says which and why, and puts the embedder together."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from semcache.embedding.backend import Backend
from semcache.embedding.batching import (
    CPU_MAX_TOKENS,
    CPU_PASS_TOKENS,
    GPU_MAX_TOKENS,
    GPU_PASS_TOKENS,
    BatchRule,
)
from semcache.embedding.cpu import UNCERTAIN_BF16, bf16_support
from semcache.embedding.device import DeviceThread, OnBatch
from semcache.embedding.embedder import ModelEmbedder
from semcache.embedding.models import ModelFiles, find_model
from semcache.embedding.tokenizer import TextTokenizer
from semcache.errors import StartError
from semcache.settings import EmbeddingSettings

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend to run, and why.

    Attributes:
        rival: another precision that may be the faster one here, which only a measurement tells; empty for none.
    """

    backend: str
    device: str
    precision: str
    why: str
    rival: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the choice depends on.

    Attributes:
        openvino: OpenVINO is installed.
        torch: torch is installed.
        cuda_precision: the half precision of the GPU that torch sees, empty without one.
        cpu_bf16: the processor's bfloat16 instructions, empty without them.
    """

    openvino: bool
    torch: bool
    cuda_precision: str
    cpu_bf16: str


def choose(settings: EmbeddingSettings, machine: Machine) -> Choice:
    """Backend, device and precision for a machine. Pure.

    Raises:
        StartError: the settings ask for what the machine or the installation doesn't have.
    """
    if settings.backend == "openvino" and settings.device == "cuda":
        raise StartError(
            "embedding.backend openvino runs on a CPU and embedding.device is cuda.",
            hint="Set embedding.backend to torch or embedding.device to cpu.",
        )
    if settings.device == "cuda" and not machine.cuda_precision:
        raise StartError(
            "embedding.device is cuda and torch sees no GPU.",
            hint="Install semcache-server[gpu] and a driver, or set embedding.device to cpu.",
        )
    if settings.backend == "openvino" and not machine.openvino:
        raise StartError(
            "embedding.backend is openvino and OpenVINO is not installed.", hint="Install semcache-server[cpu]."
        )
    if settings.backend != "openvino" and settings.device != "cpu" and machine.cuda_precision:
        precision = settings.precision if settings.precision != "auto" else machine.cuda_precision
        return Choice("torch", "cuda", precision, "torch sees a GPU")
    if settings.precision == "fp16":
        raise StartError(
            "embedding.precision is fp16 and the model runs on a CPU.", hint="Use auto, bf16 or fp32 on a CPU."
        )
    precision, reason, rival = settings.precision, "as set", ""
    if precision == "auto":
        precision = "bf16" if machine.cpu_bf16 else "fp32"
        rival = "fp32" if machine.cpu_bf16 in UNCERTAIN_BF16 else ""
        reason = f"the CPU has {machine.cpu_bf16}" if machine.cpu_bf16 else "the CPU has no bf16 instructions"
    if settings.backend != "torch" and machine.openvino:
        return Choice("openvino", "cpu", precision, f"CPU, OpenVINO is installed; precision: {reason}", rival)
    if not machine.torch:
        raise StartError(
            "neither OpenVINO nor torch is installed, and the embedding model needs one of them.",
            hint="Install semcache-server[cpu] or semcache-server[gpu].",
        )
    return Choice("torch", "cpu", precision, f"CPU, torch; precision: {reason}", rival)


def _look(settings: EmbeddingSettings) -> Machine:
    """Looks at the machine; torch is imported only where its answer can matter (two seconds)."""
    openvino = importlib.util.find_spec("openvino") is not None
    torch = importlib.util.find_spec("torch") is not None
    cuda = ""
    if torch and settings.backend != "openvino" and settings.device != "cpu" and _may_have_gpu():
        from semcache.embedding.torch_backend import cuda_available, cuda_precision

        cuda = cuda_precision() if cuda_available() else ""
    return Machine(openvino=openvino, torch=torch, cuda_precision=cuda, cpu_bf16=bf16_support())


def _may_have_gpu() -> bool:
    """Whether a GPU's driver shows itself: NVIDIA's or AMD's on Linux, or WSL's."""
    return any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))


def _open_backend(settings: EmbeddingSettings, choice: Choice, files: ModelFiles, threads: int) -> Backend:
    if choice.backend == "openvino":
        from semcache.embedding.openvino_backend import OpenVinoBackend

        cache_dir = settings.cache_dir or Path.home() / ".cache" / "semcache"
        return OpenVinoBackend(files, precision=choice.precision, threads=threads, cache_dir=cache_dir)
    from semcache.embedding.torch_backend import TorchBackend

    return TorchBackend(files, device=choice.device, precision=choice.precision, threads=threads)


def open_embedder(
    settings: EmbeddingSettings, *, on_batch: OnBatch | None = None, monotonic: Callable[[], float] = time.monotonic
) -> ModelEmbedder:
    """Finds the model, loads it on the backend that fits the machine and starts the device thread. Takes seconds.

    Args:
        settings: the embedding section.
        on_batch: called from the device thread after each forward pass with its texts and its seconds.
        monotonic: seconds, for those given to `on_batch`.

    Raises:
        ModelMissingError: no place has the model.
        StartError: a library or a device is missing, or the model can't be run.
    """
    started = monotonic()
    files = find_model(settings.model)
    choice = choose(settings, _look(settings))
    threads = settings.threads or os.cpu_count() or 1
    tokenizer = TextTokenizer(files)
    choice, backend = _open_faster(choice, lambda one: _open_backend(settings, one, files, threads), monotonic)
    _check(backend, tokenizer, files)
    description = backend.describe()
    _log.info(
        "embedder_open",
        model=files.name,
        source=files.source,
        why=choice.why,
        fingerprint=files.fingerprint[:12],
        seconds=round(monotonic() - started, 2),
        **description,
    )
    on_gpu = choice.device == "cuda"
    rule = BatchRule(
        max_texts=settings.max_batch_gpu if on_gpu else settings.max_batch,
        max_tokens=GPU_MAX_TOKENS if on_gpu else CPU_MAX_TOKENS,
        pass_tokens=GPU_PASS_TOKENS if on_gpu else CPU_PASS_TOKENS,
    )
    device = DeviceThread(
        backend,
        dimension=files.dimension,
        rule=rule,
        max_queue=settings.max_queue,
        monotonic=monotonic,
        on_batch=on_batch,
    )
    return ModelEmbedder(files, tokenizer, device, description)


def _open_faster(
    choice: Choice, opened: Callable[[Choice], Backend], monotonic: Callable[[], float]
) -> tuple[Choice, Backend]:
    """The backend of a choice, or its rival's where that is faster on this processor; takes a second where one is."""
    backend = opened(choice)
    if not choice.rival:
        return choice, backend
    rival = replace(choice, precision=choice.rival)
    other = opened(rival)
    taken_s, rivals_s = _pass_s(backend, monotonic), _pass_s(other, monotonic)
    measured = (
        f"measured, {choice.precision} {1e3 * taken_s:.1f} ms and {rival.precision} {1e3 * rivals_s:.1f} ms a batch"
    )
    if rivals_s < taken_s:
        choice, backend, other = rival, other, backend
    other.close()
    return replace(choice, why=f"{choice.why}; {measured}"), backend


def _pass_s(backend: Backend, monotonic: Callable[[], float]) -> float:
    """Seconds of a forward pass of 16 short texts, the best of five after two to warm up."""
    batch = [range(1000, 1016)] * 16
    times = []
    for _ in range(7):
        started = monotonic()
        backend.forward(batch)
        times.append(monotonic() - started)
    return min(times[2:])


def _check(backend: Backend, tokenizer: TextTokenizer, files: ModelFiles) -> None:
    """One forward pass: a model that can't run fails at the start, and the first caller doesn't pay for warming up.

    Raises:
        StartError: the network fails or gives something else than unit vectors of the promised length.
    """
    try:
        vectors = backend.forward([tokenizer.ids("warm up"), tokenizer.ids("a longer text to warm up with")])
        norms = (vectors.astype("float64") ** 2).sum(axis=1) ** 0.5
    except Exception as error:
        raise StartError(
            f"the embedding model {files.name!r} fails on its first text: {type(error).__name__}: {error}",
            hint="Try another embedding.backend or embedding.precision.",
        ) from error
    if vectors.shape != (2, files.dimension) or not all(abs(norm - 1) < 1e-3 for norm in norms):
        raise StartError(
            f"the embedding model {files.name!r} gave shape {vectors.shape} and lengths {norms.tolist()} instead of "
            f"two unit vectors of {files.dimension}.",
            hint="Try another embedding.backend or embedding.precision.",
        )
