"""Pairs compared as the cache would compare them, without a server: keys, partitions, one embedding a text."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.pairs import Message, Pair, body
from semcache.model import KeyedRequest, Request, Tier, Vector
from semcache.ports import Embedder
from semcache.request import CacheabilityRules, Keying, Templates
from semcache.settings import Settings

_TEXTS_AT_ONCE = 256
"""Below `embedding.max_queue`, and enough for eight batches of a CPU."""


class Relation(Enum):
    """How the cache would see the two sides of a pair, whatever the threshold."""

    EXACT = "exact"
    """One request: served always."""
    COMPARED = "compared"
    """One partition: the decision is asked."""
    APART = "apart"
    """Nothing is compared by meaning: never served."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One pair with all that a decision depends on.

    Attributes:
        pair: the two requests and the label.
        relation: whether a decision is asked at all.
        asked: the text of the request that is compared.
        stored: the entry's.
        similarity: the cosine of the two; None unless they are compared.
        reason: why they are apart (a stable snake_case token); empty otherwise.
        prompt_tokens: of the request's messages, by the embedder's tokenizer: an estimate of the upstream's input.
        cost_nanousd: what the entry's answer cost; None where nobody knows.
    """

    pair: Pair
    relation: Relation
    asked: str
    stored: str
    similarity: float | None = None
    reason: str = ""
    prompt_tokens: int = 0
    cost_nanousd: int | None = None


async def compare_pairs(
    pairs: Sequence[Pair],
    embedder: Embedder,
    settings: Settings,
    on_progress: Callable[[int], None],
    known: Mapping[str, Vector] = MappingProxyType({}),
) -> tuple[Compared, ...]:
    """Key both sides of every pair as the server would, and embed each text once that has to be compared.

    Args:
        pairs: any number.
        embedder: the project's own; stays the caller's to close.
        settings: cacheability and limits are read.
        on_progress: told how many texts have been embedded since the last call; see `texts_to_embed`.
        known: vectors of texts that needn't be embedded again.

    Raises:
        InvalidRequestError: a side is no request that a server would take; the pair is named.
        EmbeddingFailedError: the model failed.
    """
    keying = keying_of(settings, embedder)
    keyed = [(_key(keying, pair, pair.asked), _key(keying, pair, pair.stored)) for pair in pairs]
    relations = [_relate(asked, stored) for asked, stored in keyed]
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
        compared.append(Compared(pair, relation, asked.text, stored.text, similarity, reason, tokens))
    return tuple(compared)


async def embed_all(texts: Sequence[str], embedder: Embedder, on_progress: Callable[[int], None]) -> dict[str, Vector]:
    """The vectors of some texts, all different; few enough at once for the embedder's queue.

    Raises:
        EmbeddingFailedError: the model failed.
    """
    vectors: dict[str, Vector] = {}
    # Texts of one length share a batch without padding.
    ordered = sorted(texts, key=len)
    for start in range(0, len(ordered), _TEXTS_AT_ONCE):
        some = ordered[start : start + _TEXTS_AT_ONCE]
        vectors.update(zip(some, await embedder.embed(some), strict=True))
        on_progress(len(some))
    return vectors


def texts_to_embed(pairs: Sequence[Pair]) -> int:
    """At most how many texts `compare_pairs` embeds."""
    return len({pair.asked[-1]["content"] for pair in pairs} | {pair.stored[-1]["content"] for pair in pairs})


def keying_of(settings: Settings, embedder: Embedder) -> Keying:
    """Keys as a server under these settings makes them, under a secret of their own."""
    return Keying(
        secrets=[secrets.token_hex(16)],
        fingerprint=embedder.fingerprint,
        route_policy_version=settings.upstream.route_policy_version,
        templates=Templates(settings.cacheability),
        limits=settings.limits,
        cacheability=CacheabilityRules(settings.cacheability, embedder.fits),
    )


def _key(keying: Keying, pair: Pair, side: Sequence[Message]) -> KeyedRequest:
    try:
        return keying.key(Request(tenant="default", body=body(side)))
    except InvalidRequestError as error:
        raise InvalidRequestError(
            f"The pair {pair.pair_id}: {error.message}",
            reason=error.reason,
            hint=error.hint or "Leave the pair out, or change the limits.",
        ) from error


def _relate(asked: KeyedRequest, stored: KeyedRequest) -> tuple[Relation, str]:
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
