"""Run the network by OpenVINO on a CPU: converted once, kept in the cache folder, checked by its hash at each start."""

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

from semcache.embedding.backend import BackendInfo, padded
from semcache.embedding.models import ModelFiles, sha256_of
from semcache.embedding.quantised import DYNAMIC_QUANTISATION, quantise
from semcache.errors import StartError

if TYPE_CHECKING:
    import types

_log = structlog.get_logger(__name__)
_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""OpenVINO's name of what the network is computed in; in int8 the quantised products alone are computed otherwise."""
_MAX_LANES = 2
"""Forward passes at the same time: one for each core of a small machine, each with an even share of the threads."""
ATTENTION = {"SNIPPETS_MODE": "DISABLE"}
"""Keeps attention's products apart instead of fusing them into one kernel that computes head by head: for short texts
that saves a quarter of a pass in bf16, a twentieth in fp32 (`attention` in `benchmarks/README.md`)."""
_BF16_MULTIPLE = 16
"""Tokens to a multiple of which a text alone is padded in bf16: a pass of another length than the last takes a
millisecond longer, a token of padding 0.04 ms (`benchmarks/README.md`). In batches, fp32 and int8 nothing is gained."""
_FILES = ("network.xml", "network.bin")


def import_openvino() -> types.ModuleType:
    """Return the openvino module, imported without its telemetry.

    With the telemetry's module blocked, OpenVINO's converter falls back to a stub that sends nothing. OpenVINO's own
    script for opting out would write into the user's home and still import the sender.

    Raises:
        ImportError: OpenVINO isn't installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is how an import is blocked
    import openvino

    module: types.ModuleType = openvino
    return module


class OpenVinoBackend:
    """A network compiled for two lanes with half of the threads each.

    One lane with all threads answers a single text sooner (3.7 instead of 6.5 ms on two cores). But its threads wait
    for each other at every layer, spinning: while the event loop takes one of the cores, a text costs a fifth more.

    Args:
        files: the model.
        precision: "fp32", "bf16", "fp16" or "int8".
        threads: of all lanes together.
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
        self.lanes = min(threads, _MAX_LANES)
        compiled = compile_network(
            core,
            network,
            {
                "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": self.lanes,
                "PERFORMANCE_HINT": "LATENCY",
                # A lane pinned to one core would wait there for the event loop while another core idles.
                "ENABLE_CPU_PINNING": False,
                **(DYNAMIC_QUANTISATION if precision == "int8" else {}),
            },
        )
        self._requests: list[Any] = [compiled.create_infer_request() for _ in range(self.lanes)]

    def forward(self, batch: Sequence[Sequence[int]], lane: int = 0) -> NDArray[np.float32]:
        """Return unit vectors, copied out of OpenVINO's own buffers."""
        multiple = _BF16_MULTIPLE if len(batch) == 1 and len(batch[0]) <= self._padded_up_to else 1
        tokens, mask = padded(batch, self._pad_id, multiple)  # OpenVINO reads these arrays until the pass ends
        request = self._requests[lane]
        request.start_async({"input_ids": tokens, "attention_mask": mask}, share_inputs=True)
        request.wait()
        return np.array(request.get_output_tensor(0).data, dtype=np.float32)

    def info(self) -> BackendInfo:
        """Return what runs where."""
        return BackendInfo("openvino", self._version, f"cpu, {self._threads} threads", self._precision)

    def close(self) -> None:
        """Drop the network."""
        self._requests.clear()


def compile_network(core: Any, network: Any, options: Mapping[str, Any]) -> Any:
    """Compile the network for this CPU, with the options of `ATTENTION` where this OpenVINO knows them.

    Args:
        core: OpenVINO's `Core`.
        network: as OpenVINO reads or converts it.
        options: all others.

    Raises:
        RuntimeError: OpenVINO can't compile the network.
    """
    try:
        return core.compile_model(network, "CPU", {**options, **ATTENTION})
    except RuntimeError as error:
        if not any(option in str(error) for option in ATTENTION):
            raise
        # The option is undocumented: a later version may have dropped it.
        plain = core.compile_model(network, "CPU", options)
        _log.info("embedding.attention_fused", why=str(error).strip().rpartition("\n")[2], effect="batches take longer")
        return plain


def _network(ov: types.ModuleType, core: Any, files: ModelFiles, folder: Path) -> Any:
    """Return the kept conversion if it is whole, else convert the model and keep that if the folder can be written."""
    problem = _defect(folder)
    if not problem:
        return core.read_model(folder / _FILES[0])
    _log.info("embedding.model_converting", why=problem, folder=str(folder))
    network = _convert(ov, files)
    try:
        _keep(ov, network, folder)
    except OSError as error:
        _log.warning(
            "embedding.model_not_kept", folder=str(folder), error=str(error), effect="the next start converts it again"
        )
    return network


def _defect(folder: Path) -> str:
    """Return why the kept conversion can't be used, or an empty string if it can."""
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
    """Return the model's network as OpenVINO converts it from torch, in float32.

    Raises:
        StartError: torch or transformers is missing, or the model can't be loaded.
    """
    try:
        import torch

        from semcache.embedding.network import SentenceNetwork
    except ImportError as error:
        raise StartError(
            f"the first start converts the embedding model for OpenVINO, which needs {error.name}.",
            hint="Install semcache-server[cpu], or set embedding.backend.",
        ) from error
    # OpenVINO takes batch and length as dynamic: the example's shape limits nothing.
    example = {name: torch.ones(2, 8, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    with warnings.catch_warnings(), torch.inference_mode(mode=False):
        warnings.simplefilter("ignore")  # the tracer warns of every branch on a shape
        return ov.convert_model(SentenceNetwork(files, torch.float32), example_input=example)


def _keep(ov: types.ModuleType, network: Any, folder: Path) -> None:
    """Write the conversion beside its folder and rename it, so that a start that dies or races leaves all or nothing.

    Raises:
        OSError: the folder can't be written.
    """
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
            return  # another process has kept its own meanwhile, and may be reading it
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(fresh, folder)  # noqa: PTH104 - os.rename documents what happens to a folder in the way
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
