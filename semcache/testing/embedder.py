"""An embedder without a model: it hashes words, word pairs and letter triples, so that similar texts lie near."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from semcache.errors import EmbeddingFailedError, ShuttingDownError
from semcache.model.snapshot import EmbedderStats

_WORD = re.compile(r"\w+")


class HashingEmbedder:
    """Deterministic unit vectors: equal texts have cosine 1, texts that share words and letters are near.

    Args:
        dimension: length of a vector.
        window_words: words of a text beyond which `fits` is false.
        unknown: characters that `knows` is false for.
        adapter: a name that makes another vector space of the same dimension, as an adapter of a model does.

    Attributes:
        batches: the texts of each call to `embed`, oldest first.
        waits_s: what `expected_wait_s` returns; a test sets it.
        small_batches: the last value given to `keep_batches_small`.
    """

    def __init__(self, *, dimension: int = 384, window_words: int = 256, unknown: str = "", adapter: str = "") -> None:
        self._dimension = dimension
        self._window_words = window_words
        self._unknown = frozenset(unknown)
        self._adapter = adapter
        self._failure: Exception | None = None
        self._gate: asyncio.Event | None = None
        self.small_batches = False
        self.waits_s = 0.0
        self._closed = False
        self.batches: list[tuple[str, ...]] = []

    @property
    def fingerprint(self) -> str:
        """Names the vector space."""
        return f"hashing-{self._dimension}{self._adapter and '-'}{self._adapter}"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    def fits(self, text: str) -> bool:
        """Return whether `text` has at most `window_words` words, and none of the `unknown` characters."""
        return len(_WORD.findall(text)) <= self._window_words and self.knows(text)

    def knows(self, text: str) -> bool:
        """Return whether `text` has none of the `unknown` characters."""
        return self._unknown.isdisjoint(text)

    def count_tokens(self, text: str) -> int:
        """Return the number of words of `text`."""
        return len(_WORD.findall(text))

    def fail_next(self, error: Exception | None = None) -> None:
        """Let the next call to `embed` raise `error`, an EmbeddingFailedError by default."""
        self._failure = error or EmbeddingFailedError("the embedding model failed on a batch of 1: as it was told to")

    def hang_next(self) -> asyncio.Event:
        """Return an event, and let the next call to `embed` wait until it is set."""
        self._gate = asyncio.Event()
        return self._gate

    def vector(self, text: str) -> NDArray[np.float32]:
        """Return the unit vector of one text, (dimension,)."""
        vector = np.zeros(self._dimension, dtype=np.float32)
        for feature, weight in _features(text):
            digest = hashlib.blake2b(feature.encode(), digest_size=8, key=self._adapter.encode()).digest()
            position = int.from_bytes(digest[:4], "little") % self._dimension
            vector[position] += weight if digest[4] & 1 else -weight
        length = float(np.linalg.norm(vector))
        if length == 0.0:
            vector[0] = length = 1.0
        return vector / np.float32(length)

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors (len(texts), dimension), in order.

        Raises:
            ShuttingDownError: the embedder is closed.
            Exception: the error that `fail_next` was given.
        """
        if self._closed:
            raise ShuttingDownError("the embedder is closed and takes no more texts")
        self.batches.append(tuple(texts))
        gate, self._gate = self._gate, None
        failure, self._failure = self._failure, None
        await (gate.wait() if gate is not None else asyncio.sleep(0))
        if failure is not None:
            raise failure
        return np.array([self.vector(text) for text in texts], dtype=np.float32).reshape(len(texts), self._dimension)

    def keep_batches_small(self, *, small: bool) -> None:
        """Keep the value in `small_batches`."""
        self.small_batches = small

    def queue_depth(self) -> int:
        """Return 0: nothing waits for a device."""
        return 0

    def expected_wait_s(self) -> float:
        """Return the value of `waits_s`."""
        return self.waits_s

    def stats(self) -> EmbedderStats:
        """Return what it is."""
        return EmbedderStats(
            model=self.fingerprint,
            fingerprint=self.fingerprint,
            backend="hashing",
            device="cpu",
            precision="fp32",
            dimension=self._dimension,
            adapter=self._adapter,
        )

    async def close(self) -> None:
        """Refuse all texts from now on."""
        self._closed = True


def _features(text: str) -> Iterator[tuple[str, float]]:
    """Yield each feature of a text with its weight."""
    words = [str(word) for word in _WORD.findall(text.lower())]
    for word in words:
        yield f"w:{word}", 1.0
        for start in range(len(word)):
            yield f"c:{f'^{word}$'[start : start + 3]}", 0.3
    for first, second in itertools.pairwise(words):
        yield f"p:{first} {second}", 0.5
    if not words:
        yield f"t:{text}", 1.0
