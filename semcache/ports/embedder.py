"""Text in, unit vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semcache.model.snapshot import EmbedderStats


class Embedder(Protocol):
    """Text in, unit vectors out."""

    @property
    def fingerprint(self) -> str:
        """Names the vector space: weights, pooling, normalisation; not the backend or precision."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def fits(self, text: str) -> bool:
        """Return whether the model reads all of `text`; a text that it would cut must not be compared by meaning."""
        ...

    def knows(self, text: str) -> bool:
        """Return whether the model knows every character of `text`, as far as its window may reach."""
        ...

    def count_tokens(self, text: str) -> int:
        """Return the tokens of `text` by the model's own tokenizer, uncut: the estimate for upstreams without usage."""
        ...

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors of shape (len(texts), dimension), unit length, in order.

        Raises:
            OverloadedError: the queue is full, or the wait would be too long.
            EmbeddingFailedError: the model failed on the batch.
            ShuttingDownError: the embedder is closing.
        """
        ...

    def queue_depth(self) -> int:
        """Return how many texts wait for the device or are computed."""
        ...

    def expected_wait_s(self) -> float:
        """Return the seconds that a text which comes now would wait for the device, as far as is known."""
        ...

    def keep_batches_small(self, *, small: bool) -> None:
        """Limit batches to fewer texts, so that nobody waits for a large one, or lift that limit. Idempotent."""
        ...

    def stats(self) -> EmbedderStats:
        """Return the names of model, backend, device and precision, and the vector space."""
        ...

    async def close(self) -> None:
        """Compute what waits and free the device."""
        ...
