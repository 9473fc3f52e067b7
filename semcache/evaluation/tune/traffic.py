"""Lays labelled texts out as streams: each meets what was stored before it, other traffic included, in several orders.

A cache compares a request with all that it holds, and the order decides what that is: the first text of a cluster finds
no right answer, only wrong ones. So each text is looked up among the texts that come before it and among prompts of
other traffic, in several random orders.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.evaluation.labels.pairs import BACKGROUND, LabelledPair, NamedTexts, body, user
from semcache.evaluation.tune.comparing import ComparedPair, Relation, embed_all, keying_of, relate
from semcache.evaluation.tune.pair_scores import Requests
from semcache.model import KeyedRequest, Request, Tier
from semcache.ports import Embedder
from semcache.request import Keying
from semcache.settings import Settings

ORDERS = 3
"""Random orders. More of them narrow a threshold's wrong ratio little: it varies with the units, not the orders."""
SEED = 20_231
"""Any fixed number: equal labels then give equal orders."""
LEAST_COSINE = 0.4
"""The cosine below which a candidate is left out. Thresholds below it aren't tested: they would serve anything."""
BEFORE_ALL, NEVER = -1, np.iinfo(np.int64).max
"""The places of rows that are stored before all others, and of rows that no order holds."""
_NEAREST = 256
"""Nearest rows of which those that come earlier are candidates: of the first texts of a stream a few candidates are
lost, of the others none."""
_ROWS = 512
"""Rows of the cosine matrix computed at once: 512 × 20,000 floats take 41 MB."""
Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StreamTexts:
    """Texts that a server compares by meaning: the labelled ones, then prompts of other traffic.

    Attributes:
        field: what a name is: "cluster" or "intent".
        one_answer: whether texts with one name share an answer.
        names: the name of each text; BACKGROUND for a prompt of other traffic.
        keyed: the texts as the cache keys them.
        tokens: the tokens of each text by the embedder's tokenizer.
        vectors: shape (texts, dimensions), of unit length.
        ambiguous: texts that were left out since they stand under two names.
        equal_background: prompts of other traffic that were left out since they equal a labelled text.
    """

    field: str
    one_answer: bool
    names: tuple[str, ...]
    keyed: tuple[KeyedRequest, ...]
    tokens: tuple[int, ...]
    vectors: Floats
    ambiguous: int = 0
    equal_background: int = 0

    def part(self, names: Collection[str]) -> StreamTexts:
        """Return the texts under these names, and all prompts of other traffic."""
        kept = [number for number, name in enumerate(self.names) if name == BACKGROUND or name in names]
        return StreamTexts(
            self.field,
            self.one_answer,
            tuple(self.names[number] for number in kept),
            tuple(self.keyed[number] for number in kept),
            tuple(self.tokens[number] for number in kept),
            self.vectors[kept],
        )


@dataclass(frozen=True, slots=True)
class LaidOut:
    """Labels laid out as requests with the candidates that they meet.

    Attributes:
        compared: the distinct pairs of a text and a candidate.
        requests: each request with its candidates among these pairs. A text of a stream is a request in each order.
    """

    compared: tuple[ComparedPair, ...]
    requests: Requests


async def read_stream(
    named: NamedTexts,
    background: Sequence[str],
    embedder: Embedder,
    settings: Settings,
    on_progress: Callable[[int], None],
) -> StreamTexts:
    """Return the texts of clusters or intents, and prompts of other traffic, with their vectors.

    A text that occurs several times under one name counts once. One under two names is left out: what answers it is
    unknown.

    Args:
        named: the texts.
        background: prompts of other traffic.
        embedder: embeds each text once; the caller closes it.
        settings: cacheability and limits are read.
        on_progress: called with the number of texts embedded since its last call.

    Raises:
        InvalidRequestError: a server would refuse a text.
        EmbeddingFailedError: the model failed.
    """
    keying = keying_of(settings, embedder)
    under: dict[str, set[str]] = {}
    for name, text in named.texts:
        under.setdefault(text, set()).add(name)
    known = {text: next(iter(names)) for text, names in under.items() if len(names) == 1}
    known |= {text: BACKGROUND for text in background if text not in under}
    keyed = {text: found for text in known if (found := by_meaning(keying, text)) is not None}
    vectors = await embed_all([item.text for item in keyed.values()], embedder, on_progress)
    matrix = [vectors[item.text] for item in keyed.values()]
    return StreamTexts(
        named.field,
        named.one_answer,
        tuple(known[text] for text in keyed),
        tuple(keyed.values()),
        tuple(embedder.count_tokens(text) for text in keyed),
        np.stack(matrix) if matrix else np.empty((0, 1), np.float32),
        ambiguous=sum(len(names) > 1 for names in under.values()),
        equal_background=len(set(background) & under.keys()),
    )


def by_meaning(keying: Keying, text: str) -> KeyedRequest | None:
    """Return a prompt as the cache keys it; None if a server wouldn't compare it by meaning."""
    keyed = keying.key(Request(tenant="default", body=body(user(text))))
    return keyed if keyed.cacheability.tier is Tier.SEMANTIC else None


def lay_out(texts: StreamTexts, k: int) -> LaidOut:
    """Return the texts as streams.

    Texts of one intent needn't share an answer, so they are no candidates of each other, and all pairs are traps. What
    a prompt of other traffic answers is unknown, and counts as wrong.

    Args:
        texts: the texts.
        k: candidates that the cache looks at.
    """
    numbers = {name: number for number, name in enumerate(dict.fromkeys(texts.names))}
    labels = np.array([numbers[name] for name in texts.names if name != BACKGROUND], np.int64)
    candidates = candidates_in_orders(texts.vectors, labels, k, one_answer=texts.one_answer)
    asked = np.tile(np.arange(len(labels)), ORDERS)
    pairs, requests = requests_of(candidates.reshape(-1, k), asked, len(texts.names))
    every, wanted = pairs // max(1, len(texts.names)), pairs % max(1, len(texts.names))
    cosines = np.einsum("ij,ij->i", texts.vectors[every], texts.vectors[wanted])
    compared = tuple(
        _pair(texts, asked_row, stored_row, cosine)
        for asked_row, stored_row, cosine in zip(every.tolist(), wanted.tolist(), cosines.tolist(), strict=True)
    )
    return LaidOut(compared, requests)


def requests_of(candidates: Numbers, asked: Numbers, texts: int) -> tuple[Numbers, Requests]:
    """Return the distinct pairs of texts in several orders, and the requests over these pairs.

    Args:
        candidates: rows of texts, nearest first, -1 where there are fewer; shape (asked texts × orders, k).
        asked: the row of each asked text, shape (asked texts × orders,).
        texts: how many texts there are; the pair of two rows has the number asked × texts + stored.
    """
    keys = np.where(candidates >= 0, asked[:, None] * texts + candidates, -1)
    pairs = np.unique(keys[keys >= 0])
    places = np.where(keys >= 0, np.searchsorted(pairs, keys), -1)
    met = (candidates >= 0).any(axis=1)
    return pairs, Requests(places[met], np.full(int(met.sum()), 1.0 / ORDERS), float((~met).sum()) / ORDERS)


def _pair(texts: StreamTexts, asked: int, stored: int, cosine: float) -> ComparedPair:
    name, stored_name = texts.names[asked], texts.names[stored]
    kind = (
        "other traffic" if stored_name == BACKGROUND else f"{'same' if stored_name == name else 'other'} {texts.field}"
    )
    asked_text, stored_text = texts.keyed[asked], texts.keyed[stored]
    pair = LabelledPair(
        f"{name}-{asked}-{stored}",
        user(stored_text.text),
        user(asked_text.text),
        stored_name == name,
        kind,
        group=name,
        stored_group=stored_name,
    )
    relation, reason = relate(asked_text, stored_text)
    similarity = cosine if relation is Relation.COMPARED else None
    return ComparedPair(pair, relation, asked_text.text, stored_text.text, similarity, reason, texts.tokens[asked])


def candidates_in_orders(vectors: Floats, labels: Numbers, k: int, *, one_answer: bool) -> Numbers:
    """Return the nearest `k` rows that are stored before each labelled row, shape (orders, labelled rows, k).

    Rows are stored in the order in which they come, hits too: what a hit keeps out of the store depends on the
    threshold, and its like is there already. Other traffic is stored before everything else.

    Args:
        vectors: shape (rows, dimensions), of unit length; labelled rows first, then those of other traffic.
        labels: the cluster or intent of each labelled row, shape (labelled rows,).
        k: candidates at most; -1 stands where there are fewer.
        one_answer: whether rows with one label share an answer; if not, they are no candidates of each other.
    """
    count = len(labels)
    nearest, near = nearest_rows(vectors, labels, one_answer=one_answer)
    places = np.full((ORDERS, len(vectors)), BEFORE_ALL)
    places[:, :count] = random_places(count)
    return earlier_candidates(nearest, near, np.arange(count), places, k)


def random_places(count: int) -> Numbers:
    """Return the place of each of `count` rows in each order, shape (orders, count)."""
    rng = np.random.default_rng(SEED)
    return np.stack([rng.permutation(count) for _ in range(ORDERS)])


def nearest_rows(vectors: Floats, labels: Numbers, *, one_answer: bool) -> tuple[Numbers, Floats]:
    """Return the numbers of the rows nearest to each labelled row, nearest first, and their cosines.

    The arguments are those of `candidates_in_orders`. Rows that are no candidates have a cosine of minus infinity.
    """
    count, width = len(labels), min(_NEAREST, len(vectors))
    nearest, near = np.empty((count, width), np.int64), np.empty((count, width), np.float32)
    for start in range(0, count, _ROWS):
        block = np.arange(start, min(start + _ROWS, count))
        cosines = vectors[block] @ vectors.T
        cosines[np.arange(len(block)), block] = -np.inf
        if not one_answer:
            cosines[:, :count][labels[block][:, None] == labels[None, :]] = -np.inf
        nearest[block], near[block] = _nearest(cosines, width)
    return nearest, near


def earlier_candidates(nearest: Numbers, near: Floats, rows: Numbers, places: Numbers, k: int) -> Numbers:
    """Return the nearest `k` rows with an earlier place, shape (orders, asked rows, k); -1 where there are fewer.

    Args:
        nearest: rows near to each asked row, nearest first, shape (asked rows, near ones).
        near: their cosines, in the shape of `nearest`.
        rows: the numbers of the asked rows, shape (asked rows,).
        places: when each row is stored, shape (orders, rows): BEFORE_ALL, NEVER, or a place in the order.
        k: candidates at most.
    """
    candidates = np.full((len(places), len(rows), k), -1, np.int64)
    for order, place in enumerate(places):
        earlier = (near >= LEAST_COSINE) & (place[nearest] < place[rows][:, None])
        rank = np.cumsum(earlier, axis=1)
        row, column = np.nonzero(earlier & (rank <= k))
        candidates[order, row, rank[row, column] - 1] = nearest[row, column]
    return candidates


def _nearest(cosines: Floats, width: int) -> tuple[Numbers, Floats]:
    """Return the numbers of the `width` greatest cosines of each row, greatest first, and these cosines."""
    nearest = np.argpartition(-cosines, width - 1, axis=1)[:, :width]
    near = np.take_along_axis(cosines, nearest, axis=1)
    order = np.argsort(-near, axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1), np.take_along_axis(near, order, axis=1)
