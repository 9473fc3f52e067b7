"""Small adapters for tests: random changes of the packaged model's attention, and the file that holds them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semcache.embedding.adapter import Adapter, LayerChange, encode_adapter, rounded
from semcache.embedding.models import PACKAGES
from semcache.settings import EmbeddingSettings
from semcache.whole_files import write_whole

BASE_SHA256 = PACKAGES[EmbeddingSettings().model].sha256
WIDTH = 384
LAYERS = tuple(f"encoder.layer.{layer}.attention.self.{part}" for layer in range(6) for part in ("query", "value"))


def random_change(
    *, out: int = WIDTH, into: int = WIDTH, rank: int = 4, size: float = 0.1, seed: int = 1
) -> LayerChange:
    chance = np.random.default_rng(seed)
    return rounded(chance.normal(0, size, (rank, into)), chance.normal(0, size, (out, rank)))


def write_adapter(path: Path, layers: Mapping[str, LayerChange], **about: Any) -> Adapter:
    """Writes the file of the adapter that `encode_adapter` makes of the same arguments, and returns the adapter."""
    adapter, content = encode_adapter(layers, **about)
    write_whole(path, content)
    return adapter


def write_random_adapter(path: Path, *, layers: Sequence[str] = LAYERS, name: str = "random", seed: int = 1) -> Adapter:
    """Writes an adapter for the packaged model which moves its vectors visibly."""
    changes = {layer: random_change(seed=seed + number) for number, layer in enumerate(layers)}
    return write_adapter(path, changes, name=name, base_sha256=BASE_SHA256)
