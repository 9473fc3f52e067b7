"""Exact search of all vectors by torch: a matrix product and the largest of each row, on any device that torch has."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray

from semcache.index.nearest import sorted_neighbours
from semcache.index.tuning import TUNING, IndexTuning
from semcache.model import Neighbour


class TorchGpu:
    """The vectors of a partition in a device's memory, in float32. Not thread-safe.

    The matrix has room for a power of two of vectors and doubles when it is full. A removal moves the last row into
    the hole. Work on a GPU goes through a stream of its own, so that it doesn't wait for the embedding's passes.

    Args:
        ids: entry ids, (n,), each once.
        vectors: their unit vectors, (n, dimension); copied to the device.
        device: torch's name of it, "cuda" or "cpu".
        tuning: the numbers that aren't settings.

    Raises:
        RuntimeError: the device is missing or its memory is full; `add` and `search` raise it as well.
    """

    def __init__(
        self, ids: NDArray[np.int64], vectors: NDArray[np.float32], *, device: str, tuning: IndexTuning = TUNING
    ) -> None:
        # TF32 keeps 10 bits of a float32's 23: cosines would be off by 1e-3. This is torch's default, and process-wide.
        torch.set_float32_matmul_precision("highest")
        self._device = torch.device(device)
        self._tuning = tuning
        self._stream = (
            torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            if self._device.type == "cuda"
            else None
        )
        self._count = 0
        self._ids = np.empty(0, dtype=np.int64)
        self._row: dict[int, int] = {}
        self._matrix = torch.empty((0, vectors.shape[1]), dtype=torch.float32, device=self._device)
        self.add(ids, vectors)

    def __repr__(self) -> str:
        return f"TorchGpu({self._count} of {len(self._matrix)} rows on {self._device})"

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Neighbour]]:
        """Return the `k` nearest of each unit vector (m, dimension) with exact cosines, nearest first."""
        found: list[list[Neighbour]] = []
        step = max(1, self._tuning.gpu_cells // self._count)
        with torch.inference_mode(), self._on_stream():
            asked = self._on_device(queries)
            rows = self._matrix[: self._count]
            for start in range(0, len(queries), step):
                largest, places = torch.topk(asked[start : start + step] @ rows.T, k, dim=1)
                found.extend(sorted_neighbours(self._ids[places.cpu().numpy()], largest.cpu().numpy(), k))
        return found

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors (n, dimension) under ids that aren't there yet."""
        end = self._count + len(ids)
        with torch.inference_mode(), self._on_stream():
            if end > len(self._matrix):
                self._grow(1 << (end - 1).bit_length())
            self._matrix[self._count : end] = self._on_device(vectors)
        self._ids[self._count : end] = ids
        self._row.update(zip(ids.tolist(), range(self._count, end), strict=True))
        self._count = end

    def remove(self, entry_id: int) -> None:
        """Move the last row into the id's place; an unknown id is ignored."""
        row = self._row.pop(entry_id, None)
        if row is None:
            return
        last = self._count - 1
        if row != last:
            with torch.inference_mode(), self._on_stream():
                self._matrix[row] = self._matrix[last]
            moved = int(self._ids[last])
            self._ids[row] = moved
            self._row[moved] = row
        self._count = last

    def _grow(self, capacity: int) -> None:
        matrix = torch.empty((capacity, self._matrix.shape[1]), dtype=torch.float32, device=self._device)
        matrix[: self._count] = self._matrix[: self._count]
        self._matrix = matrix
        ids = np.empty(capacity, dtype=np.int64)
        ids[: self._count] = self._ids[: self._count]
        self._ids = ids

    def _on_device(self, vectors: NDArray[np.float32]) -> torch.Tensor:
        # torch warns of memory that it may not write, such as that of vectors from the store.
        vectors = np.require(vectors, dtype=np.float32, requirements=["C", "W"])
        return torch.from_numpy(vectors).to(self._device)

    def _on_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
