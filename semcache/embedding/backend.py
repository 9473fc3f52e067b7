"""What the device threads ask of a backend: token ids in, unit vectors out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Backend(Protocol):
    """A network on a device.

    Attributes:
        streams: forward passes that it runs at the same time, each for a thread of its own.
    """

    streams: int

    def forward(self, batch: Sequence[Sequence[int]], stream: int = 0) -> NDArray[np.float32]:
        """Unit vectors (len(batch), dimension) of token ids, special tokens included; may raise anything.

        Args:
            batch: token ids of each text.
            stream: which of the streams; used by one thread at a time.
        """
        ...

    def describe(self) -> Mapping[str, str]:
        """Backend, device and precision, for people."""
        ...

    def close(self) -> None:
        """Free the device."""
        ...


def padded(
    batch: Sequence[Sequence[int]], pad_id: int, multiple: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids and attention mask, each (len(batch), the longest's length up to the next `multiple`)."""
    width = ceil(max(len(ids) for ids in batch) / multiple) * multiple
    tokens = np.full((len(batch), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(batch), width), dtype=np.int64)
    for row, ids in enumerate(batch):
        tokens[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return tokens, mask
