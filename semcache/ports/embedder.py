"""Text in, unit vectors out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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
        """Whether the model reads all of `text`; what it would cut must not be compared by meaning."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` by the model's own tokenizer, uncut: the estimate where an upstream sends no usage."""
        ...

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of shape (len(texts), dimension), unit length, in order.

        Raises:
            OverloadedError: the queue is full.
            EmbeddingFailedError: the model failed on the batch.
        """
        ...

    def queue_depth(self) -> int:
        """Texts waiting for the device or on it."""
        ...

    def keep_batches_small(self, *, small: bool) -> None:
        """Compute fewer texts at once, or as many as usual again: nobody waits for a large batch to end. Idempotent."""
        ...

    def describe(self) -> Mapping[str, str]:
        """Backend, device, precision and model, for people."""
        ...

    async def close(self) -> None:
        """Finish what is queued and free the device."""
        ...
