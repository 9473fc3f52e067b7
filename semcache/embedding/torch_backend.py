"""Run the network by torch: on a GPU in half precision, on a CPU in bf16 where it has the instructions."""

from __future__ import annotations

import os
from collections.abc import Sequence

# The hub's library reads this when transformers imports it, and then sends no reports.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import numpy as np
import torch
from numpy.typing import NDArray

from semcache.embedding.backend import BackendInfo, padded
from semcache.embedding.models import ModelFiles
from semcache.embedding.network import SentenceNetwork

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def cuda_available() -> bool:
    """Return whether torch sees a GPU."""
    return torch.cuda.is_available()


def cuda_precision() -> str:
    """Return "bf16" where the GPU computes in it, else "fp16"."""
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


class TorchBackend:
    """The network of transformers with scaled dot product attention, called directly.

    Args:
        files: the model.
        device: "cpu" or "cuda".
        precision: "fp32", "bf16" or "fp16".
        threads: of one forward pass on a CPU; torch has one such number for the whole process.
    """

    lanes = 1

    def __init__(self, files: ModelFiles, *, device: str, precision: str, threads: int) -> None:
        self._device = torch.device(device)
        self._precision = precision
        self._pad_id = files.pad_id
        self._threads = threads
        if device == "cpu":
            torch.set_num_threads(threads)
        self._network = SentenceNetwork(files, _DTYPES[precision]).to(self._device).eval()

    def forward(self, batch: Sequence[Sequence[int]], lane: int = 0) -> NDArray[np.float32]:  # noqa: ARG002
        """Return unit vectors. Only the copy of them from the device waits for it."""
        tokens, mask = (torch.from_numpy(array) for array in padded(batch, self._pad_id))
        if self._device.type == "cuda":
            tokens = tokens.pin_memory().to(self._device, non_blocking=True)
            mask = mask.pin_memory().to(self._device, non_blocking=True)
        with torch.inference_mode():
            vectors: torch.Tensor = self._network(tokens, mask)
            return np.asarray(vectors.cpu().numpy(), dtype=np.float32)

    def info(self) -> BackendInfo:
        """Return what runs where."""
        device = torch.cuda.get_device_name() if self._device.type == "cuda" else f"cpu, {self._threads} threads"
        return BackendInfo("torch", torch.__version__, device, self._precision)

    def close(self) -> None:
        """Drop the network and give a GPU's memory back."""
        del self._network
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
