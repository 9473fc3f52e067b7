"""Compares pairs as the cache would, without a server: by keys, by partitions, and with one embedding for each text."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.pairs import LabelledPair, Message, body
from semcache.model import KeyedRequest, Request, Tier, Vector
from semcache.ports import Embedder
from semcache.request import CacheabilityRules, Keying, Templates
from semcache.settings import Settings

_TEXTS_AT_ONCE = 256
"""Texts embedded at once: below the default `embedding.max_queue`, and enough for eight batches of a CPU."""


class Relation(Enum):
    """How the two sides of a pair relate in the cache, independent of the threshold."""

    EXACT = "exact"
    """Both sides have one exact key, so the pair is always served."""
    COMPARED = "compared"
    """Both sides have one partition, so the decision compares them."""
    APART = "apart"
    """The sides are never compared by meaning, so the pair is never served."""


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """One pair with everything that a decision depends on.

    Attributes:
        pair: the two requests and the label.
        relation: how the two sides relate in the cache.
        asked: the text of the request that is looked up.
        stored: the text of the entry.
        similarity: the cosine of the two texts; None unless they are compared.
        reason: why the sides are apart, as a stable token; empty if they aren't.
        prompt_tokens: tokens of the request's messages by the embedder's tokenizer, which estimates the upstream's.
        cost_nanousd: nanodollars that the entry's answer cost; None if unknown.
    """

    pair: LabelledPair
    relation: Relation
    asked: str
    stored: str
    similarity: float | None = None
    reason: str = ""
    prompt_tokens: int = 0
    cost_nanousd: int | None = None


async def compare_pairs(
    pairs: Sequence[LabelledPair],
    embedder: Embedder,
    settings: Settings,
    on_progress: Callable[[int], None],
    known: Mapping[str, Vector] = MappingProxyType({}),
) -> tuple[ComparedPair, ...]:
    """Compute the keys of both sides of every pair as a server would, and compare the texts that share a partition.

    Args:
        pairs: the pairs to compare.
        embedder: embeds each text once; the caller closes it.
        settings: cacheability and limits are read.
        on_progress: called with the number of texts embedded since its last call.
        known: vectors of texts that needn't be embedded again, by text.

    Returns:
        The comparisons, in the order of `pairs`.

    Raises:
        InvalidRequestError: a server would refuse a side; the message names the pair.
        EmbeddingFailedError: the model failed.
    """
    keying = keying_of(settings, embedder)
    keyed = [(_key(keying, pair, pair.asked), _key(keying, pair, pair.stored)) for pair in pairs]
    relations = [relate(asked, stored) for asked, stored in keyed]
    wanted = dict.fromkeys(
        side.text
        for sides, (relation, _) in zip(keyed, relations, strict=True)
        if relation is Relation.COMPARED
        for side in sides
        if side.text not in known
    )
    vectors = {**known, **await embed_all(list(wanted), embedder, on_progress)}
    compared = []
    for pair, (asked, stored), (relation, reason) in zip(pairs, keyed, relations, strict=True):
        similarity = None
        if relation is Relation.COMPARED:
            similarity = float(vectors[asked.text] @ vectors[stored.text])
        tokens = sum(embedder.count_tokens(message["content"]) for message in pair.asked)
        compared.append(ComparedPair(pair, relation, asked.text, stored.text, similarity, reason, tokens))
    return tuple(compared)


async def embed_all(texts: Sequence[str], embedder: Embedder, on_progress: Callable[[int], None]) -> dict[str, Vector]:
    """Return the vectors of texts, which are all different, by text.

    They are embedded in chunks that fit the embedder's queue.

    Raises:
        EmbeddingFailedError: the model failed.
    """
    vectors: dict[str, Vector] = {}
    # Texts of similar length share a batch with little padding.
    ordered = sorted(texts, key=len)
    for start in range(0, len(ordered), _TEXTS_AT_ONCE):
        chunk = ordered[start : start + _TEXTS_AT_ONCE]
        vectors.update(zip(chunk, await embedder.embed(chunk), strict=True))
        on_progress(len(chunk))
    return vectors


def texts_to_embed(pairs: Sequence[LabelledPair]) -> int:
    """Return an upper limit on the number of texts that `compare_pairs` embeds."""
    return len({pair.asked[-1]["content"] for pair in pairs} | {pair.stored[-1]["content"] for pair in pairs})


def keying_of(settings: Settings, embedder: Embedder) -> Keying:
    """Return the keying of a server under these settings, with a random secret."""
    return Keying(
        secrets=[secrets.token_hex(16)],
        fingerprint=embedder.fingerprint,
        route_policy_version=settings.upstream.route_policy_version,
        templates=Templates(settings.cacheability),
        limits=settings.limits,
        cacheability=CacheabilityRules(settings.cacheability, fits=embedder.fits, knows=embedder.knows),
        per_end_user=settings.cacheability.per_end_user,
    )


def _key(keying: Keying, pair: LabelledPair, side: Sequence[Message]) -> KeyedRequest:
    try:
        return keying.key(Request(tenant="default", body=body(side)))
    except InvalidRequestError as error:
        raise InvalidRequestError(
            f"The pair {pair.pair_id}: {error.message}",
            reason=error.reason,
            hint=error.hint or "Leave the pair out, or change the limits.",
        ) from error


def relate(asked: KeyedRequest, stored: KeyedRequest) -> tuple[Relation, str]:
    """Return how two keyed requests relate in the cache, and why they are apart; the reason is empty if they aren't."""
    for side in (asked, stored):
        if side.cacheability.tier is Tier.NONE:
            return Relation.APART, side.cacheability.reason
    if asked.exact_key == stored.exact_key:
        return Relation.EXACT, ""
    for side in (asked, stored):
        if side.cacheability.tier is not Tier.SEMANTIC:
            return Relation.APART, side.cacheability.reason
    if asked.partition != stored.partition:
        return Relation.APART, "another_partition"
    return Relation.COMPARED, ""
