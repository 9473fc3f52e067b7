"""Pairs each text of a cluster or an intent with its nearest neighbour among all other texts.

A cache that holds all other texts would compare a text with the nearest one, so that is the pair, as a hit or as a
trap. A text drawn at random is rarely a near miss: pairs with such texts would prove thresholds as low as .2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from semcache.evaluation.labels.pairs import LabelledPair, NamedTexts, body, user
from semcache.evaluation.tune.comparing import embed_all, keying_of
from semcache.model import Request, Tier, Vector
from semcache.ports import Embedder
from semcache.settings import Settings

_ROWS = 512
"""Rows of the cosine matrix computed at once: 512 × 20,000 floats take 41 MB."""


async def nearest_pairs(
    named: NamedTexts, embedder: Embedder, settings: Settings, on_progress: Callable[[int], None]
) -> tuple[tuple[LabelledPair, ...], Mapping[str, Vector]]:
    """Return a pair for each text that the cache compares by meaning, and the vectors of all texts.

    Texts of one intent needn't share an answer, so neighbours of the same intent are skipped and all pairs are traps.
    A text that occurs several times counts once.

    Args:
        named: the texts.
        embedder: embeds each text once; the caller closes it.
        settings: cacheability and limits are read.
        on_progress: called with the number of texts embedded since its last call.

    Returns:
        The pairs, and the vectors by text.

    Raises:
        InvalidRequestError: a server would refuse a text.
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
            LabelledPair(
                f"{names[text]}-{number}", user(neighbour), user(text), same=same, kind=kind, group=names[text]
            )
        )
    return tuple(pairs), vectors


def _nearest(names: Sequence[str], vectors: NDArray[np.float32], *, one_answer: bool) -> list[int]:
    """Return for each row the nearest other row; -1 if there is none.

    Args:
        names: the cluster or intent of each row.
        vectors: shape (rows, dimensions), of unit length.
        one_answer: whether rows with one name share an answer; if not, they are not neighbours.
    """
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    name_numbers = np.array([numbers[name] for name in names])
    nearest: list[int] = []
    for start in range(0, len(names), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(names)))
        cosines = vectors[rows] @ vectors.T
        cosines[np.arange(len(rows)), rows] = -np.inf
        if not one_answer:
            cosines[name_numbers[rows][:, None] == name_numbers[None, :]] = -np.inf
        best = cosines.argmax(axis=1)
        nearest += [int(n) if np.isfinite(cosines[row, n]) else -1 for row, n in enumerate(best)]
    return nearest
