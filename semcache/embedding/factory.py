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
    CPU_BF16_CROWD_PADDING,
    CPU_BF16_PASS_TOKENS,
    CPU_MAX_TOKENS,
    CPU_PASS_TOKENS,
    GPU_MAX_TOKENS,
    GPU_PASS_TOKENS,
    BatchRule,
)
from semcache.embedding.cpu import UNCERTAIN_BF16, bf16_support, int8_support
from semcache.embedding.device import DeviceThreads, OnBatch
from semcache.embedding.embedder import ModelEmbedder
from semcache.embedding.models import ModelFiles, find_model
from semcache.embedding.tokenizer import TextTokenizer
from semcache.embedding.trial import CHECK_SENTENCES, open_fastest
from semcache.errors import StartError
from semcache.settings import EmbeddingSettings

_log = structlog.get_logger(__name__)
_MOST_TRIED_BYTES = 512 * 1024 * 1024
"""Weights of a model whose precisions are tried: all of them are in memory at once, and the start waits."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend to run, and why.

    Attributes:
        rivals: other precisions that may be the better ones here, which only a trial tells; empty for none.
    """

    backend: str
    device: str
    precision: str
    why: str
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """What the choice depends on.

    Attributes:
        openvino: OpenVINO is installed.
        torch: torch is installed.
        cuda_precision: the half precision of the GPU that torch sees, empty without one.
        cpu_bf16: the processor's bfloat16 instructions, empty without them.
        cpu_int8: the processor's int8 instructions (VNNI), empty without them.
    """

    openvino: bool
    torch: bool
    cuda_precision: str
    cpu_bf16: str
    cpu_int8: str = ""


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
        if settings.precision == "int8":
            raise StartError(
                "embedding.precision is int8 and the model runs on a GPU.",
                hint="Use auto, fp16, bf16 or fp32 on a GPU, or set embedding.device to cpu.",
            )
        precision = settings.precision if settings.precision != "auto" else machine.cuda_precision
        return Choice("torch", "cuda", precision, "torch sees a GPU")
    return _choose_on_cpu(settings, machine)


def _choose_on_cpu(settings: EmbeddingSettings, machine: Machine) -> Choice:
    by_openvino = settings.backend != "torch" and machine.openvino
    if settings.precision == "fp16":
        raise StartError(
            "embedding.precision is fp16 and the model runs on a CPU.", hint="Use auto, bf16, fp32 or int8 on a CPU."
        )
    if settings.precision == "int8" and not by_openvino:
        raise StartError(
            "embedding.precision is int8, which OpenVINO alone computes, and embedding.backend is torch or OpenVINO is "
            "not installed.",
            hint="Install semcache-server[cpu] and set embedding.backend to auto or openvino.",
        )
    if settings.precision == "int8" and not machine.cpu_int8:
        raise StartError(
            "embedding.precision is int8 and the CPU has neither avx512_vnni nor avx_vnni.",
            hint="Use auto or fp32: without these instructions int8 is slower than fp32.",
        )
    if settings.precision == "auto":
        precision, reason, rivals = _precision(machine, by_openvino=by_openvino)
    else:
        precision, reason, rivals = settings.precision, "as set", ()
    if by_openvino:
        return Choice("openvino", "cpu", precision, f"CPU, OpenVINO is installed; precision: {reason}", rivals)
    if not machine.torch:
        raise StartError(
            "neither OpenVINO nor torch is installed, and the embedding model needs one of them.",
            hint="Install semcache-server[cpu] or semcache-server[gpu].",
        )
    return Choice("torch", "cpu", precision, f"CPU, torch; precision: {reason}", rivals)


def _precision(machine: Machine, *, by_openvino: bool) -> tuple[str, str, tuple[str, ...]]:
    """The precision that the processor's flags speak for, why, and the others that they leave open."""
    bf16, int8 = machine.cpu_bf16, machine.cpu_int8 if by_openvino else ""
    if bf16 and bf16 not in UNCERTAIN_BF16:
        return "bf16", f"the CPU has {bf16}", ()
    flags = " and ".join(flag for flag in (bf16, int8) if flag)
    reason = f"the CPU has {flags}" if flags else "the CPU has no bf16 instructions"
    ranked = [*(("bf16",) if bf16 else ()), "fp32", *(("int8",) if int8 else ())]
    return ranked[0], reason, tuple(ranked[1:])


def tried(choice: Choice, weights_bytes: int) -> Choice:
    """The choice without its rivals where the model is too large to try them. Pure."""
    if not choice.rivals or weights_bytes <= _MOST_TRIED_BYTES:
        return choice
    untried = " and ".join(choice.rivals)
    return replace(choice, why=f"{choice.why}; the model is too large to try {untried} at the start", rivals=())


def _look(settings: EmbeddingSettings) -> Machine:
    """Looks at the machine; torch is imported only where its answer can matter (two seconds)."""
    openvino = importlib.util.find_spec("openvino") is not None
    torch = importlib.util.find_spec("torch") is not None
    cuda = ""
    if torch and settings.backend != "openvino" and settings.device != "cpu" and _may_have_gpu():
        from semcache.embedding.torch_backend import cuda_available, cuda_precision

        cuda = cuda_precision() if cuda_available() else ""
    return Machine(
        openvino=openvino, torch=torch, cuda_precision=cuda, cpu_bf16=bf16_support(), cpu_int8=int8_support()
    )


def _may_have_gpu() -> bool:
    """Whether a GPU's driver shows itself: NVIDIA's or AMD's on Linux, or WSL's."""
    return any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))


def open_backend(settings: EmbeddingSettings, choice: Choice, files: ModelFiles, threads: int) -> Backend:
    """The backend of a choice, its library imported; see its class for what it raises."""
    if choice.backend == "openvino":
        from semcache.embedding.openvino_backend import OpenVinoBackend

        cache_dir = settings.cache_dir or Path.home() / ".cache" / "semcache"
        return OpenVinoBackend(files, precision=choice.precision, threads=threads, cache_dir=cache_dir)
    from semcache.embedding.torch_backend import TorchBackend

    return TorchBackend(files, device=choice.device, precision=choice.precision, threads=threads)


def open_embedder(
    settings: EmbeddingSettings, *, on_batch: OnBatch | None = None, monotonic: Callable[[], float] = time.monotonic
) -> ModelEmbedder:
    """Finds the model, loads it on the backend that fits the machine and starts the device threads. Takes seconds.

    Args:
        settings: the embedding section.
        on_batch: called from a device thread after each forward pass with its texts and its seconds.
        monotonic: seconds, for those given to `on_batch`.

    Raises:
        ModelMissingError: no place has the model.
        StartError: a library or a device is missing, or the model can't be run.
    """
    started = monotonic()
    files = find_model(settings.model)
    choice = tried(choose(settings, _look(settings)), sum(path.stat().st_size for path in files.weights))
    threads = settings.threads or os.cpu_count() or 1
    tokenizer = TextTokenizer(files)
    choice, backend = _open_chosen(
        choice, lambda one: open_backend(settings, one, files, threads), tokenizer, monotonic
    )
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
    device = DeviceThreads(
        backend,
        dimension=files.dimension,
        rule=_batch_rule(settings, choice),
        max_queue=settings.max_queue,
        monotonic=monotonic,
        on_batch=on_batch,
    )
    return ModelEmbedder(files, tokenizer, device, description)


def _batch_rule(settings: EmbeddingSettings, choice: Choice) -> BatchRule:
    if choice.device == "cuda":
        return BatchRule(settings.max_batch_gpu, GPU_MAX_TOKENS, GPU_PASS_TOKENS)
    if choice.precision == "bf16":
        return BatchRule(settings.max_batch, CPU_MAX_TOKENS, CPU_BF16_PASS_TOKENS, CPU_BF16_CROWD_PADDING)
    return BatchRule(settings.max_batch, CPU_MAX_TOKENS, CPU_PASS_TOKENS)


def _open_chosen(
    choice: Choice, opened: Callable[[Choice], Backend], tokenizer: TextTokenizer, monotonic: Callable[[], float]
) -> tuple[Choice, Backend]:
    """The backend of a choice, or of that of its rivals which a trial of all prefers; a trial takes about a second."""
    if not choice.rivals:
        return choice, opened(choice)
    precision, why, backend = open_fastest(
        (choice.precision, *choice.rivals),
        lambda one: opened(replace(choice, precision=one)),
        [tokenizer.ids(sentence) for sentence in CHECK_SENTENCES],
        monotonic,
    )
    return replace(choice, precision=precision, why=f"{choice.why}; {why}"), backend


def _check(backend: Backend, tokenizer: TextTokenizer, files: ModelFiles) -> None:
    """One pass on each stream: a model that can't run fails at the start, and no caller pays for warming up.

    Raises:
        StartError: the network fails or gives something else than unit vectors of the promised length.
    """
    try:
        texts = [tokenizer.ids("warm up"), tokenizer.ids("a longer text to warm up with")]
        for stream in range(1, backend.streams):
            backend.forward(texts, stream)
        vectors = backend.forward(texts)
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
