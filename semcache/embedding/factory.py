"""Choose the backend that fits the machine, log which and why, and build the embedder."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path

import structlog

from semcache.embedding.adapting import AUTO, AdaptedModel, with_adapter, without_adapter
from semcache.embedding.backend import Backend
from semcache.embedding.cpu import UNCERTAIN_BF16, bf16_support, int8_support
from semcache.embedding.embedder import ModelEmbedder
from semcache.embedding.lanes import Lanes, OnBatch
from semcache.embedding.models import ModelFiles, find_model
from semcache.embedding.queue import TextQueue
from semcache.embedding.scheduling import (
    CPU_BF16_TEXT_PADDING,
    CPU_MAX_TOKENS,
    CPU_PASS_TOKENS,
    GPU_MAX_TOKENS,
    GPU_PASS_TOKENS,
    BatchRule,
)
from semcache.embedding.tokenizer import TextTokenizer
from semcache.embedding.trial import CHECK_SENTENCES, open_fastest
from semcache.errors import StartError
from semcache.settings import EmbeddingSettings

_log = structlog.get_logger(__name__)
_MAX_TRIED_BYTES = 512 * 1024 * 1024
"""Bytes of weights up to which precisions are tried: all of them are in memory at once, and the start waits."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend to run, and why.

    Attributes:
        backend: "openvino" or "torch".
        device: "cpu" or "cuda".
        precision: the preferred one.
        why: the reason, for the log.
        rivals: other precisions that may be faster here, which only a trial shows; empty for none.
    """

    backend: str
    device: str
    precision: str
    why: str
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """What the choice depends on: installed libraries and the instructions of the processors.

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
    """Return backend, device and precision for a machine. Pure.

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
    """Return the choice where no GPU is used.

    Raises:
        StartError: the settings ask for a precision or a library that isn't there.
    """
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
    """Return the precision that the processor's flags suggest, the reason, and the precisions that may be faster."""
    bf16, int8 = machine.cpu_bf16, machine.cpu_int8 if by_openvino else ""
    if bf16 and bf16 not in UNCERTAIN_BF16:
        return "bf16", f"the CPU has {bf16}", ()
    flags = " and ".join(flag for flag in (bf16, int8) if flag)
    reason = f"the CPU has {flags}" if flags else "the CPU has no bf16 instructions"
    ranked = [*(("bf16",) if bf16 else ()), "fp32", *(("int8",) if int8 else ())]
    return ranked[0], reason, tuple(ranked[1:])


def without_large_trials(choice: Choice, weights_bytes: int) -> Choice:
    """Return the choice, without its rivals where the model is too large to try them. Pure."""
    if not choice.rivals or weights_bytes <= _MAX_TRIED_BYTES:
        return choice
    untried = " and ".join(choice.rivals)
    return replace(choice, why=f"{choice.why}; the model is too large to try {untried} at the start", rivals=())


def _inspect_machine(settings: EmbeddingSettings) -> Machine:
    """Return what the machine has. Torch, whose import takes two seconds, is imported only where a GPU may be used."""
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
    """Return whether a GPU's driver is loaded: NVIDIA's or AMD's on Linux, or WSL's."""
    return any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))


def open_backend(settings: EmbeddingSettings, choice: Choice, files: ModelFiles, threads: int) -> Backend:
    """Import the library of a choice and return its backend.

    Args:
        settings: the embedding section.
        choice: what to run.
        files: the model.
        threads: of all forward passes together, on a CPU.

    Raises:
        StartError: the model can't be loaded, converted or quantised.
    """
    if choice.backend == "openvino":
        from semcache.embedding.openvino_backend import OpenVinoBackend

        cache_dir = settings.cache_dir or Path.home() / ".cache" / "semcache"
        return OpenVinoBackend(files, precision=choice.precision, threads=threads, cache_dir=cache_dir)
    from semcache.embedding.torch_backend import TorchBackend

    return TorchBackend(files, device=choice.device, precision=choice.precision, threads=threads)


def open_embedder(
    settings: EmbeddingSettings,
    *,
    on_batch: OnBatch | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    max_wait_s: float = inf,
) -> ModelEmbedder:
    """Find the model, load it on the backend that fits the machine and start the lanes. Takes seconds.

    Args:
        settings: the embedding section.
        on_batch: called on a lane after each forward pass with its texts and its seconds.
        monotonic: seconds.
        max_wait_s: seconds; a text that would wait longer for the device is refused.

    Raises:
        ModelMissingError: no place has the model.
        StartError: a library or a device is missing, the model can't be run, or `settings.adapter` can't be used.
    """
    started_s = monotonic()
    adapted = with_adapter(settings.adapter, find_model(settings.model))
    choice = without_large_trials(
        choose(settings, _inspect_machine(settings)), sum(path.stat().st_size for path in adapted.files.weights)
    )
    tokenizer = TextTokenizer(adapted.files)
    adapted, choice, backend = _open_adapted(settings, adapted, choice, tokenizer, monotonic)
    files, info = adapted.files, backend.info()
    _log.info(
        "embedding.opened",
        model=files.name,
        source=files.source,
        why=choice.why,
        adapter=files.adapter.name if files.adapter is not None else "none",
        fingerprint=files.fingerprint[:12],
        seconds=round(monotonic() - started_s, 2),
        **asdict(info),
    )
    queue = TextQueue(
        dimension=files.dimension,
        rule=_batch_rule(settings, choice),
        lanes=backend.lanes,
        max_queue=settings.max_queue,
        monotonic=monotonic,
        max_wait_s=max_wait_s,
    )
    lanes = Lanes(backend, queue, dimension=files.dimension, monotonic=monotonic, on_batch=on_batch)
    return ModelEmbedder(files, tokenizer, queue, lanes, info, adapter_problem=adapted.problem)


def _batch_rule(settings: EmbeddingSettings, choice: Choice) -> BatchRule:
    if choice.device == "cuda":
        return BatchRule(settings.max_batch_gpu, GPU_MAX_TOKENS, GPU_PASS_TOKENS)
    text_padding = CPU_BF16_TEXT_PADDING if choice.precision == "bf16" else 0
    return BatchRule(settings.max_batch, CPU_MAX_TOKENS, CPU_PASS_TOKENS, text_padding)


def _open_adapted(
    settings: EmbeddingSettings,
    adapted: AdaptedModel,
    choice: Choice,
    tokenizer: TextTokenizer,
    monotonic: Callable[[], float],
) -> tuple[AdaptedModel, Choice, Backend]:
    """Open and check the backend of a choice; without the packaged adapter where the model doesn't run with it.

    Raises:
        StartError: the model can't be loaded or run, or not with the adapter that the settings name.
    """
    threads = settings.threads or os.cpu_count() or 1
    try:
        opened, backend = _open_chosen(
            choice, lambda chosen: open_backend(settings, chosen, adapted.files, threads), tokenizer, monotonic
        )
        _check(backend, tokenizer, adapted.files)
    except StartError as error:
        if settings.adapter != AUTO or adapted.files.adapter is None:
            raise
        return _open_adapted(settings, without_adapter(adapted.files, error.message), choice, tokenizer, monotonic)
    return adapted, opened, backend


def _open_chosen(
    choice: Choice, opened: Callable[[Choice], Backend], tokenizer: TextTokenizer, monotonic: Callable[[], float]
) -> tuple[Choice, Backend]:
    """Open the backend of a choice, or the fastest of it and its rivals by a trial, which takes about a second."""
    if not choice.rivals:
        return choice, opened(choice)
    precision, why, backend = open_fastest(
        (choice.precision, *choice.rivals),
        lambda precision: opened(replace(choice, precision=precision)),
        [tokenizer.ids(sentence) for sentence in CHECK_SENTENCES],
        monotonic,
    )
    return replace(choice, precision=precision, why=f"{choice.why}; {why}"), backend


def _check(backend: Backend, tokenizer: TextTokenizer, files: ModelFiles) -> None:
    """Run a pass on each lane: a model that can't run fails at the start, and no caller waits for a first pass.

    Raises:
        StartError: the network fails or gives anything but unit vectors of the promised length.
    """
    try:
        texts = [tokenizer.ids("warm up"), tokenizer.ids("a longer text to warm up with")]
        for lane in range(1, backend.lanes):
            backend.forward(texts, lane)
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
