"""What a backend is: a network on a device that turns token ids into unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What runs where, for people.

    Attributes:
        backend: the library's name.
        version: the library's version.
        device: the GPU's name, or "cpu" with its threads.
        precision: what the model's products are computed in.
    """

    backend: str
    version: str
    device: str
    precision: str


class Backend(Protocol):
    """A network on a device.

    Attributes:
        lanes: forward passes that the device runs at the same time, each for a thread of its own.
    """

    lanes: int

    def forward(self, batch: Sequence[Sequence[int]], lane: int = 0) -> NDArray[np.float32]:
        """Return unit vectors (len(batch), dimension) of token ids, special tokens included; may raise anything.

        Args:
            batch: token ids of each text.
            lane: number of the lane that computes, from 0; one thread at a time uses a lane.
        """
        ...

    def info(self) -> BackendInfo:
        """Return what runs where."""
        ...

    def close(self) -> None:
        """Free the device."""
        ...


def padded(
    batch: Sequence[Sequence[int]], pad_id: int, multiple: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return token ids and attention mask, each (len(batch), width), padded at the end of each row.

    Args:
        batch: token ids of each text.
        pad_id: token id that fills a row.
        multiple: the width is the longest text's length, rounded up to a multiple of this.
    """
    width = ceil(max(len(ids) for ids in batch) / multiple) * multiple
    tokens = np.full((len(batch), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(batch), width), dtype=np.int64)
    for row, ids in enumerate(batch):
        tokens[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return tokens, mask
