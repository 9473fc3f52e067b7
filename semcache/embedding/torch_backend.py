"""The network by torch: on a GPU in half precision, on a CPU in bf16 where it has the instructions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

# Read by the hub's library when transformers imports it: nothing is reported, nothing is looked up.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import numpy as np
import torch
from numpy.typing import NDArray

from semcache.embedding.backend import padded
from semcache.embedding.models import ModelFiles
from semcache.embedding.network import SentenceNetwork

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def cuda_available() -> bool:
    """Whether torch sees a GPU."""
    return torch.cuda.is_available()


def cuda_precision() -> str:
    """bf16 where the GPU computes in it, else fp16."""
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


class TorchBackend:
    """transformers' network with scaled dot product attention, called directly.

    Args:
        files: the model.
        device: "cpu" or "cuda".
        precision: "fp32", "bf16" or "fp16".
        threads: of one forward pass on a CPU; torch has one such number for the whole process.
    """

    streams = 1

    def __init__(self, files: ModelFiles, *, device: str, precision: str, threads: int) -> None:
        self._device = torch.device(device)
        self._precision = precision
        self._pad_id = files.pad_id
        self._threads = threads
        if device == "cpu":
            torch.set_num_threads(threads)
        self._network = SentenceNetwork(files, _DTYPES[precision]).to(self._device).eval()

    def forward(self, batch: Sequence[Sequence[int]], stream: int = 0) -> NDArray[np.float32]:  # noqa: ARG002
        """Unit vectors; the copy from the device is the only point that waits for it."""
        tokens, mask = (torch.from_numpy(array) for array in padded(batch, self._pad_id))
        if self._device.type == "cuda":
            tokens = tokens.pin_memory().to(self._device, non_blocking=True)
            mask = mask.pin_memory().to(self._device, non_blocking=True)
        with torch.inference_mode():
            vectors: torch.Tensor = self._network(tokens, mask)
            return np.asarray(vectors.cpu().numpy(), dtype=np.float32)

    def describe(self) -> Mapping[str, str]:
        """What runs where."""
        device = torch.cuda.get_device_name() if self._device.type == "cuda" else f"cpu, {self._threads} threads"
        return {"backend": "torch", "version": torch.__version__, "device": device, "precision": self._precision}

    def close(self) -> None:
        """Drops the network; a GPU's memory goes back to it."""
        del self._network
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
