"""The file of a LoRA adapter: small changes of an embedding model's linear layers, in int8, read, checked and written.

An adapter changes a weight W of shape (out, in) into W + up · down, where `up` is (out, rank) and `down` is (rank, in);
the method is that of "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685). The file is one
safetensors file. Numpy alone reads and writes it, so that it can be checked without torch. For each layer, named as in
the model's state dict without `.weight`, it has four tensors:

- `<layer>.down`, int8 (rank, in), and `<layer>.down_scale`, float16 or float32 (rank,): the factor of each row;
- `<layer>.up`, int8 (out, rank), and `<layer>.up_scale`, float16 or float32 (rank,): the factor of each column.

The header's metadata has `format`, `name`, `rank`, `base_sha256` (the weights that it was trained on), `sha256` (of
each tensor's `<name>|<dtype>|<shape>|` and bytes, in the order of their names) and, where its maker recommends one,
`recommended_threshold`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from semcache.errors import StartError

FORMAT = "semcache-adapter-1"
"""What the metadata calls this layout. Another layout gets another name, which this version refuses."""
SUFFIX = ".safetensors"
MAX_BYTES = 256 * 1024 * 1024
"""Bytes up to which a file is read. An adapter of rank 8 for MiniLM has .35 MB; a model by mistake has hundreds."""
_LARGEST = 127
"""The largest int8 that a matrix is rounded to, and its negative the smallest: symmetric, so that 0 stays 0."""
_PARTS = ("down", "down_scale", "up", "up_scale")
_HINT = "Set embedding.adapter to none, or to an adapter's file as `semcache train` writes it."


@dataclass(frozen=True, slots=True, eq=False)
class LayerChange:
    """The change of one linear layer's weight, as a product of two matrices in int8.

    Attributes:
        down: int8 (rank, in).
        down_scale: float32 (rank,), the factor of each row of `down`.
        up: int8 (out, rank).
        up_scale: float32 (rank,), the factor of each column of `up`.
    """

    down: NDArray[np.int8]
    down_scale: NDArray[np.float32]
    up: NDArray[np.int8]
    up_scale: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in): the shape of the weight that it changes."""
        return self.up.shape[0], self.down.shape[1]

    def matrix(self) -> NDArray[np.float32]:
        """Return what is added to the weight, float32 (out, in)."""
        down, up = self.factors()
        return np.asarray(up @ down, dtype=np.float32)

    def factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return `down` and `up` with their scales, float32 (rank, in) and (out, rank)."""
        return (
            self.down.astype(np.float32) * self.down_scale[:, None],
            self.up.astype(np.float32) * self.up_scale[None, :],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """An adapter, read and checked by itself; `check_fits` says whether a model can take it.

    Attributes:
        name: for people.
        base_sha256: hex SHA-256 of the weights that it changes, as `ModelFiles.weights_sha256`.
        rank: columns of each `up`, rows of each `down`.
        sha256: hex SHA-256 over all tensors, with their names, types and shapes; part of the fingerprint.
        layers: the changes by layer, named as in the model's state dict without `.weight`.
        recommended_threshold: the similarity threshold that its maker recommends; None for none.
    """

    name: str
    base_sha256: str
    rank: int
    sha256: str
    layers: Mapping[str, LayerChange]
    recommended_threshold: float | None = None

    def check_fits(self, base_sha256: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Check that a model can take this adapter.

        Args:
            base_sha256: hex SHA-256 of the model's weights.
            shapes: the shape of each weight of the model, by the layer's name without `.weight`.

        Raises:
            StartError: it was made for other weights, or names a layer that the model lacks or has in another shape.
        """
        if self.base_sha256 != base_sha256:
            raise StartError(
                f"the adapter {self.name!r} was made for weights with SHA-256 {self.base_sha256[:12]}…, and the "
                f"embedding model's are {base_sha256[:12]}….",
                hint="Set embedding.adapter to none, or train an adapter for this model.",
            )
        for layer, change in self.layers.items():
            if layer not in shapes:
                raise StartError(
                    f"the adapter {self.name!r} changes the layer {layer!r}, which the embedding model lacks.",
                    hint=_HINT,
                )
            if shapes[layer] != change.shape:
                raise StartError(
                    f"the adapter {self.name!r} changes the layer {layer!r} by a matrix of {change.shape}, and its "
                    f"weight has the shape {shapes[layer]}.",
                    hint=_HINT,
                )


def rounded(down: NDArray[np.floating], up: NDArray[np.floating]) -> LayerChange:
    """Return a change in int8, each row of `down` and each column of `up` rounded by a factor of its own.

    A number moves by half of its row's or column's largest magnitude / 127 at most.

    Args:
        down: (rank, in), finite.
        up: (out, rank), finite.

    Raises:
        ValueError: the matrices have no common rank, or a number isn't finite in float32.
    """
    down, up = np.asarray(down, dtype=np.float32), np.asarray(up, dtype=np.float32)
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1] or 0 in (*down.shape, *up.shape):
        raise ValueError(f"down of {down.shape} and up of {up.shape} have no product")
    if not (np.isfinite(down).all() and np.isfinite(up).all()):
        raise ValueError("a matrix of an adapter holds a number that isn't finite")
    down_scale, up_scale = _scale(np.abs(down).max(axis=1)), _scale(np.abs(up).max(axis=0))
    return LayerChange(
        down=_rounded(down / down_scale[:, None]),
        down_scale=down_scale,
        up=_rounded(up / up_scale[None, :]),
        up_scale=up_scale,
    )


def _scale(largest: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the factors for rows or columns of these largest magnitudes; of tiny ones, which round to 0, it is 1."""
    scale = (largest / np.float32(_LARGEST)).astype(np.float32)
    return np.where(scale < np.finfo(np.float32).tiny, np.float32(1), scale)


def _rounded(numbers: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.clip(np.rint(numbers), -_LARGEST, _LARGEST).astype(np.int8)


def encode_adapter(
    layers: Mapping[str, LayerChange],
    *,
    name: str,
    base_sha256: str,
    recommended_threshold: float | None = None,
) -> tuple[Adapter, bytes]:
    """Return an adapter and the bytes of its file.

    Args:
        layers: the changes by layer; `rounded` makes one from two float matrices.
        name: for people; not empty.
        base_sha256: hex SHA-256 of the weights that it changes, as `ModelFiles.weights_sha256`.
        recommended_threshold: the similarity threshold that is recommended with it, from -1 to 1; None for none.

    Raises:
        ValueError: there is no layer, ranks differ, a number isn't finite, or the threshold is no cosine.
    """
    ranks = {change.down.shape[0] for change in layers.values()}
    if len(ranks) != 1:
        raise ValueError(f"the layers of an adapter have one rank, not {sorted(ranks) or 'none'}")
    tensors = _tensors(layers)
    metadata = {
        "format": FORMAT,
        "name": name,
        "base_sha256": base_sha256,
        "rank": str(ranks.pop()),
        "sha256": _sha256(tensors),
    }
    if recommended_threshold is not None:
        metadata["recommended_threshold"] = repr(float(recommended_threshold))
    try:
        adapter = _adapter(metadata, tensors)
    except _BadAdapterError as error:
        raise ValueError(str(error)) from error
    return adapter, safetensors.numpy.save(tensors, metadata)


def read_adapter(path: Path) -> Adapter:
    """Read an adapter's file and check all that can be checked without its model.

    Raises:
        StartError: there is no such file, or it is truncated, altered, of another format, of wrong shapes or types,
            or holds numbers that aren't finite.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _BadAdapterError(f"has more than {MAX_BYTES >> 20} MiB, which no adapter has")
        metadata, tensors = _contents(path.read_bytes())
        return _adapter(metadata, tensors)
    except _BadAdapterError as error:
        raise StartError(f"the embedding model's adapter at {path} {error}.", hint=_HINT) from error
    except OSError as error:
        raise StartError(
            f"the embedding model's adapter at {path} can't be read: {error.strerror or error}.", hint=_HINT
        ) from error


class _BadAdapterError(Exception):
    """What is wrong with an adapter, as the end of a sentence that begins with its name."""


def _contents(data: bytes) -> tuple[dict[str, str], dict[str, NDArray[np.generic]]]:
    """Return metadata and tensors of a safetensors file's bytes; raise _BadAdapterError for any others."""
    try:
        tensors = safetensors.numpy.load(data)
        # `load` gives no metadata. The bytes have a sound header, since it has accepted them.
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__") or {}
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise _BadAdapterError(f"is truncated or no safetensors file ({str(error) or type(error).__name__})") from error
    return metadata, dict(tensors)


def _adapter(metadata: Mapping[str, str], tensors: Mapping[str, NDArray[np.generic]]) -> Adapter:
    """Return the adapter of metadata and tensors; raise _BadAdapterError where they make none."""
    if metadata.get("format") != FORMAT:
        raise _BadAdapterError(f"has the format {metadata.get('format')!r}, and only {FORMAT!r} can be read")
    lacking = sorted({"name", "base_sha256", "rank", "sha256"} - {key for key, value in metadata.items() if value})
    if lacking:
        raise _BadAdapterError(f"lacks {' and '.join(lacking)} in its metadata")
    if _sha256(tensors) != metadata["sha256"]:
        raise _BadAdapterError("is damaged: its tensors haven't the SHA-256 that its metadata gives")
    names = sorted({name.rpartition(".")[0] for name in tensors})
    if not names:
        raise _BadAdapterError("changes no layer")
    rank = metadata["rank"]
    return Adapter(
        name=metadata["name"],
        base_sha256=metadata["base_sha256"],
        rank=int(rank) if rank.isascii() and rank.isdigit() else 0,
        sha256=metadata["sha256"],
        layers={name: _change(name, tensors, rank) for name in names},
        recommended_threshold=_threshold(metadata.get("recommended_threshold")),
    )


def _change(layer: str, tensors: Mapping[str, NDArray[np.generic]], rank: str) -> LayerChange:
    """Return a layer's change; raise _BadAdapterError where a part is missing, or has another type or shape."""
    names = {name for name in tensors if name.rpartition(".")[0] == layer}
    if names != {f"{layer}.{part}" for part in _PARTS}:
        raise _BadAdapterError(f"has {', '.join(sorted(names))} where {layer!r} needs {', '.join(_PARTS)}")
    down, down_scale, up, up_scale = (tensors[f"{layer}.{part}"] for part in _PARTS)
    if down.dtype != np.int8 or up.dtype != np.int8 or not {down_scale.dtype, up_scale.dtype} <= _SCALE_TYPES:
        raise _BadAdapterError(f"has other types than int8, and float16 or float32 for the scales, at {layer!r}")
    is_matrix = down.ndim == 2 and up.ndim == 2 and 0 not in (*down.shape, *up.shape)
    if not is_matrix or {str(down.shape[0]), str(up.shape[1])} != {rank}:
        raise _BadAdapterError(f"has matrices of {down.shape} and {up.shape} at {layer!r}, where its rank is {rank}")
    if {down_scale.shape, up_scale.shape} != {down.shape[:1]}:
        raise _BadAdapterError(f"has scales of {down_scale.shape} and {up_scale.shape} at {layer!r}, of rank {rank}")
    change = LayerChange(
        down.astype(np.int8), down_scale.astype(np.float32), up.astype(np.int8), up_scale.astype(np.float32)
    )
    with np.errstate(over="ignore", invalid="ignore"):
        is_finite = np.isfinite(change.matrix()).all()
    if not is_finite:
        raise _BadAdapterError(f"has numbers that aren't finite at {layer!r}")
    return change


_SCALE_TYPES = {np.dtype(np.float16), np.dtype(np.float32)}


def _threshold(text: str | None) -> float | None:
    """Return the recommended threshold; raise _BadAdapterError where it is no cosine."""
    if text is None:
        return None
    try:
        threshold = float(text)
    except ValueError:
        threshold = math.nan
    if not -1 <= threshold <= 1:
        raise _BadAdapterError(f"recommends the threshold {text!r}, which is no cosine")
    return threshold


def _tensors(layers: Mapping[str, LayerChange]) -> dict[str, NDArray[np.generic]]:
    return {
        f"{layer}.{part}": np.ascontiguousarray(getattr(change, part))
        for layer, change in layers.items()
        for part in _PARTS
    }


def _sha256(tensors: Mapping[str, NDArray[np.generic]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        shape = ",".join(map(str, tensor.shape))
        # Equal bytes under another name, or in another shape, are another change of the model.
        digest.update(f"{name}|{tensor.dtype.name}|{shape}|".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()
