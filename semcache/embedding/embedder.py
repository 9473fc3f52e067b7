"""The embedder of a real model: its tokenizer on the caller's side, the queue and the lanes behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semcache.embedding.backend import BackendInfo
from semcache.embedding.lanes import Lanes
from semcache.embedding.models import ModelFiles
from semcache.embedding.queue import TextQueue
from semcache.embedding.tokenizer import TextTokenizer
from semcache.model.snapshot import EmbedderStats

_INLINE_CHARS = 1_000
"""Texts of up to so many characters together are tokenised on the event loop: that takes 0.03 to 0.3 ms, and a thread's
hand-off as much."""


class ModelEmbedder:
    """A sentence-transformers model behind `semcache.ports.Embedder`.

    Args:
        files: the model.
        tokenizer: the model's own.
        queue: where token ids wait.
        lanes: the threads that compute what waits in `queue`.
        info: what runs where.
        adapter_problem: why the adapter that was meant isn't in the weights; empty where nothing is wrong.
    """

    def __init__(
        self,
        files: ModelFiles,
        tokenizer: TextTokenizer,
        queue: TextQueue,
        lanes: Lanes,
        info: BackendInfo,
        *,
        adapter_problem: str = "",
    ) -> None:
        self._tokenizer = tokenizer
        self._queue = queue
        self._lanes = lanes
        self._stats = EmbedderStats(
            model=files.name,
            fingerprint=files.fingerprint,
            backend=info.backend,
            device=info.device,
            precision=info.precision,
            dimension=files.dimension,
            adapter=files.adapter.name if files.adapter is not None else "",
            adapter_problem=adapter_problem,
        )

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 that names the vector space."""
        return self._stats.fingerprint

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._stats.dimension

    def fits(self, text: str) -> bool:
        """Return whether the model reads all of `text`: it lies within the window and has no unknown tokens."""
        return self._tokenizer.fits(text)

    def knows(self, text: str) -> bool:
        """Return whether the model knows every character of `text`, as far as its window may reach."""
        return self._tokenizer.knows(text)

    def count_tokens(self, text: str) -> int:
        """Return the tokens of `text` without special ones; extrapolated for very long texts."""
        return self._tokenizer.count(text)

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors (len(texts), dimension), in order; a text beyond the window is cut.

        Raises:
            OverloadedError: the queue is full, or the wait would be too long.
            EmbeddingFailedError: the model failed on a batch.
            ShuttingDownError: the embedder is closing.
        """
        if sum(map(len, texts)) <= _INLINE_CHARS:
            ids = [self._tokenizer.ids(text) for text in texts]
        else:
            ids = await asyncio.to_thread(lambda: [self._tokenizer.ids(text) for text in texts])
        return await self._queue.submit(ids)

    def queue_depth(self) -> int:
        """Return how many texts wait for the device or are computed."""
        return self._queue.depth

    def expected_wait_s(self) -> float:
        """Return the seconds that a text which comes now would wait for the device."""
        return self._queue.expected_wait_s()

    def keep_batches_small(self, *, small: bool) -> None:
        """Limit batches to an eighth of the configured texts from the next one on, or lift that limit."""
        self._queue.keep_batches_small(small=small)

    def stats(self) -> EmbedderStats:
        """Return the names of model, backend, device and precision, and the vector space."""
        return self._stats

    async def close(self) -> None:
        """Compute what waits and free the device."""
        await self._lanes.close()
