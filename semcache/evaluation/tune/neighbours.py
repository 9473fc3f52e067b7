"""Texts by cluster or intent as the cache would meet them: each with its nearest neighbour among all others.

A stranger drawn at random is no near miss: labels of such pairs "prove" thresholds of .2. What a cache that holds all
the other texts would look at is the nearest one, so that is the pair, a hit or a trap as it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from semcache.evaluation.labels.pairs import NamedTexts, Pair, body, user
from semcache.evaluation.tune.comparing import embed_all, keying_of
from semcache.model import Request, Tier, Vector
from semcache.ports import Embedder
from semcache.settings import Settings

_ROWS = 512
"""Of the matrix of cosines at once: 512 × 20,000 floats are 41 MB."""


async def nearest_pairs(
    named: NamedTexts, embedder: Embedder, settings: Settings, on_progress: Callable[[int], None]
) -> tuple[tuple[Pair, ...], Mapping[str, Vector]]:
    """A pair for each text that the cache compares by meaning, with its nearest neighbour; and all their vectors.

    Texts of one intent needn't share an answer: there a neighbour of the same intent is passed over, and all pairs are
    traps. A text that occurs again counts once.

    Args:
        named: the texts.
        embedder: the project's own; stays the caller's to close.
        settings: cacheability and limits are read.
        on_progress: told how many texts have been embedded since the last call.

    Raises:
        InvalidRequestError: a text is no request that a server would take.
        EmbeddingFailedError: the model failed.
    """
    keying = keying_of(settings, embedder)
    names: dict[str, str] = {}
    for name, text in named.texts:
        if keying.key(Request(tenant="default", body=body(user(text)))).cacheability.tier is Tier.SEMANTIC:
            names.setdefault(text, name)
    texts = list(names)
    vectors = await embed_all(texts, embedder, on_progress)
    if len(texts) < 2:
        return (), vectors
    nearest = _nearest(
        [names[text] for text in texts], np.stack([vectors[text] for text in texts]), one_answer=named.one_answer
    )
    pairs = []
    for number, (text, other) in enumerate(zip(texts, nearest, strict=True)):
        if other < 0:
            continue
        neighbour = texts[other]
        same = names[neighbour] == names[text]
        kind = f"nearest, {'same' if same else 'other'} {named.field}"
        pairs.append(
            Pair(f"{names[text]}-{number}", user(neighbour), user(text), same=same, kind=kind, group=names[text])
        )
    return tuple(pairs), vectors


def _nearest(names: Sequence[str], vectors: NDArray[np.float32], *, one_answer: bool) -> list[int]:
    """The row nearest to each row, another one than itself; -1 where there is none."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    of = np.array([numbers[name] for name in names])
    found: list[int] = []
    for start in range(0, len(names), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(names)))
        cosines = vectors[rows] @ vectors.T
        cosines[np.arange(len(rows)), rows] = -np.inf
        if not one_answer:
            cosines[of[rows][:, None] == of[None, :]] = -np.inf
        best = cosines.argmax(axis=1)
        found += [int(n) if np.isfinite(cosines[row, n]) else -1 for row, n in enumerate(best)]
    return found
