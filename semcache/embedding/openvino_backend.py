"""The network by OpenVINO on a CPU: converted once, kept in the cache folder, hash-checked at each start."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from numpy.typing import NDArray

from semcache.embedding.backend import padded
from semcache.embedding.models import ModelFiles, sha256_of
from semcache.embedding.quantised import DYNAMIC_QUANTISATION, quantise
from semcache.errors import StartError

if TYPE_CHECKING:
    import types

_log = structlog.get_logger(__name__)
_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""What the compiler is told; int8 says what the rest of the network, beside its products, is computed in."""
_STREAMS = 2
ATTENTION = {"SNIPPETS_MODE": "DISABLE"}
"""OpenVINO fuses attention into one kernel that goes head by head, unless its fused subgraphs ("snippets") are off. For
short texts separate products over all heads are faster: 32 texts of 14 tokens take 18.6 instead of 24.8 ms in bf16 with
AMX, 70 instead of 75 in fp32, 40 instead of 46 in int8; from 112 tokens on they are slower by up to a twentieth
(`benchmarks/attention.py`)."""
_BF16_MULTIPLE = 16
"""To a multiple of so many tokens a text alone is padded in bf16: another length than the last one's costs it a
millisecond, and a token 0.04. Questions of 8 to 40 tokens take 2.3 instead of 2.6 ms, of 12 to 15 tokens 1.6 instead of
2.2 (measured with AMX); in fp32 and int8, where a token costs more, and in batches nothing is gained."""
_FILES = ("network.xml", "network.bin")


def import_openvino() -> types.ModuleType:
    """OpenVINO, its telemetry absent: with the module blocked its converter falls back to a stub that sends nothing.

    Opting out by its own script would write into the user's home and still import the sender.

    Raises:
        ImportError: OpenVINO isn't installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is how an import is blocked
    import openvino

    module: types.ModuleType = openvino
    return module


class OpenVinoBackend:
    """Two streams with half of the threads each.

    One stream with all threads answers a single text sooner (3.7 ms instead of 6.5 on two cores), but its threads wait
    for each other at every layer, spinning: while the event loop or a neighbour takes one of the cores, a text costs a
    fifth more (measured, 64 callers).

    Args:
        files: the model.
        precision: "fp32", "bf16", "fp16" or "int8".
        threads: of all streams together.
        cache_dir: where the converted network is kept, in float32 whatever the precision.

    Raises:
        StartError: the model can't be converted, or has nothing to quantise.
    """

    def __init__(self, files: ModelFiles, *, precision: str, threads: int, cache_dir: Path) -> None:
        ov = import_openvino()
        self._version = str(ov.__version__).split("-", maxsplit=1)[0]
        self._precision = precision
        self._threads = threads
        self._pad_id = files.pad_id
        self._padded_up_to = files.max_tokens // _BF16_MULTIPLE * _BF16_MULTIPLE if precision == "bf16" else 0
        core = ov.Core()
        network = _network(ov, core, files, cache_dir / f"openvino-{self._version}-{files.fingerprint[:32]}")
        if precision == "int8":
            quantise(ov, network)
        self.streams = min(threads, _STREAMS)
        compiled = compile_network(
            core,
            network,
            {
                "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": self.streams,
                "PERFORMANCE_HINT": "LATENCY",
                # A stream held to one core waits there for the event loop while another core idles: a twentieth less.
                "ENABLE_CPU_PINNING": False,
                **(DYNAMIC_QUANTISATION if precision == "int8" else {}),
            },
        )
        self._requests: list[Any] = [compiled.create_infer_request() for _ in range(self.streams)]

    def forward(self, batch: Sequence[Sequence[int]], stream: int = 0) -> NDArray[np.float32]:
        """Unit vectors, copied out of OpenVINO's own buffers."""
        multiple = _BF16_MULTIPLE if len(batch) == 1 and len(batch[0]) <= self._padded_up_to else 1
        tokens, mask = padded(batch, self._pad_id, multiple)  # kept until the pass is done: they are shared
        request = self._requests[stream]
        request.start_async({"input_ids": tokens, "attention_mask": mask}, share_inputs=True)
        request.wait()
        return np.array(request.get_output_tensor(0).data, dtype=np.float32)

    def describe(self) -> Mapping[str, str]:
        """What runs where."""
        return {
            "backend": "openvino",
            "version": self._version,
            "device": f"cpu, {self._threads} threads",
            "precision": self._precision,
        }

    def close(self) -> None:
        """Drops the network."""
        self._requests.clear()


def compile_network(core: Any, network: Any, options: Mapping[str, Any]) -> Any:
    """The network for this CPU, its attention as `ATTENTION` says where this OpenVINO knows how."""
    try:
        return core.compile_model(network, "CPU", {**options, **ATTENTION})
    except RuntimeError as error:
        if not any(option in str(error) for option in ATTENTION):
            raise
        # It isn't a documented one, and a later version may have dropped it.
        plain = core.compile_model(network, "CPU", options)
        _log.info("embedding_attention_fused", why=str(error).strip().rpartition("\n")[2], effect="batches take longer")
        return plain


def _network(ov: types.ModuleType, core: Any, files: ModelFiles, folder: Path) -> Any:
    """The kept conversion when it is whole, else a new one, kept where the folder can be written."""
    problem = _defect(folder)
    if not problem:
        return core.read_model(folder / _FILES[0])
    _log.info("embedding_model_converting", why=problem, folder=str(folder))
    network = _convert(ov, files)
    try:
        _keep(ov, network, folder)
    except OSError as error:
        _log.warning(
            "embedding_model_not_kept", folder=str(folder), error=str(error), effect="the next start converts it again"
        )
    return network


def _defect(folder: Path) -> str:
    """Why the kept conversion can't be used; empty when it can."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        if all(manifest[part] == sha256_of([folder / part]) for part in _FILES):
            return ""
    except FileNotFoundError:
        return "not converted yet"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"the kept conversion can't be read ({type(error).__name__})"
    return "the kept conversion is damaged"


def _convert(ov: types.ModuleType, files: ModelFiles) -> Any:
    try:
        import torch

        from semcache.embedding.network import SentenceNetwork
    except ImportError as error:
        raise StartError(
            f"the first start converts the embedding model for OpenVINO, which needs {error.name}.",
            hint="Install semcache-server[cpu], or set embedding.backend.",
        ) from error
    # Batch and length of the example are traced as dynamic; what the model is traced with doesn't limit it.
    example = {name: torch.ones(2, 8, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    with warnings.catch_warnings(), torch.inference_mode(False):
        warnings.simplefilter("ignore")  # the tracer warns of every branch on a shape
        return ov.convert_model(SentenceNetwork(files, torch.float32), example_input=example)


def _keep(ov: types.ModuleType, network: Any, folder: Path) -> None:
    """Writes beside and renames, so that a start that dies or races leaves a whole conversion or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}."))
    try:
        try:
            ov.save_model(network, fresh / _FILES[0], compress_to_fp16=False)
        except RuntimeError as error:  # how OpenVINO reports a full disk
            raise OSError(str(error)) from error
        manifest = {part: sha256_of([fresh / part]) for part in _FILES}
        (fresh / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        if not _defect(folder):
            return  # another process was faster, and may be reading it
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(fresh, folder)  # noqa: PTH104 - Path.rename says less about what happens to a folder in the way
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
