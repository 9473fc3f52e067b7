"""The real `Embedder`: the model's tokenizer before the queue, the device threads behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from semcache.embedding.device import DeviceThreads
from semcache.embedding.models import ModelFiles
from semcache.embedding.tokenizer import TextTokenizer

_INLINE_CHARS = 1_000
"""Fewer are tokenised where the caller stands (0.03–0.3 ms): a hand-off to another thread costs as much."""


class ModelEmbedder:
    """A sentence-transformers model behind `semcache.ports.Embedder`."""

    def __init__(
        self, files: ModelFiles, tokenizer: TextTokenizer, device: DeviceThreads, description: Mapping[str, str]
    ) -> None:
        self._files = files
        self._tokenizer = tokenizer
        self._device = device
        self._description = {"model": files.name, "source": files.source, **description}
        self._fingerprint = files.fingerprint

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 that names the vector space."""
        return self._fingerprint

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._files.dimension

    def fits(self, text: str) -> bool:
        """Whether the model reads all of `text`: within its window, and without unknown tokens."""
        return self._tokenizer.fits(text)

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` without special ones; extrapolated for very long texts."""
        return self._tokenizer.count(text)

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (len(texts), dimension), in order; a text beyond the window is cut.

        Raises:
            OverloadedError: the queue is full.
            EmbeddingFailedError: the model failed on a batch.
            ShuttingDownError: the embedder is closing.
        """
        if sum(map(len, texts)) <= _INLINE_CHARS:
            ids = [self._tokenizer.ids(text) for text in texts]
        else:
            ids = await asyncio.to_thread(lambda: [self._tokenizer.ids(text) for text in texts])
        return await self._device.submit(ids)

    def queue_depth(self) -> int:
        """Texts waiting for the device or on it."""
        return self._device.depth

    def keep_batches_small(self, *, small: bool) -> None:
        """An eighth of the configured size, from the next batch on; or that size again."""
        self._device.keep_batches_small(small=small)

    def describe(self) -> Mapping[str, str]:
        """Model, source, backend, device and precision."""
        return self._description

    async def close(self) -> None:
        """Computes what has queued and frees the device."""
        await self._device.close()
