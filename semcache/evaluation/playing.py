"""Plays labelled pairs through a real server: stores one side, looks the other up."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from semcache.client import Client, ClientError, Lookup
from semcache.client.arguments import LookupArguments, StoreArguments
from semcache.evaluation.labels import Message, Pair

_BATCH = 64
_MODEL = "semcache-eval"


@dataclass(frozen=True, slots=True)
class Played:
    """What became of one pair. `similarity` and `threshold` are None where nothing was compared by meaning."""

    pair: Pair
    served: bool
    similarity: float | None
    threshold: float | None


async def play_pairs(
    client: Client,
    pairs: Sequence[Pair],
    threshold: float | None,
    *,
    shared: bool,
    on_progress: Callable[[int], None],
) -> list[Played]:
    """Store every pair's one side, then look every other side up, in namespaces that nobody used before.

    Args:
        client: of the server.
        pairs: any number.
        threshold: the similarity that requests ask for; it can only tighten the server's. None: the server's own.
        shared: all pairs in one namespace, so that they meet; else each has its own.
        on_progress: told how many requests have been answered since the last call.

    Raises:
        ClientError: a request failed.
    """
    run = secrets.token_hex(6)
    names = [f"eval-{run}" if shared else f"eval-{run}-{number}" for number in range(len(pairs))]
    for some in _slices(len(pairs)):
        stores = [
            StoreArguments(openai_json=_body(pairs[n].stored), namespace=names[n], answer=_answer(pairs[n]))
            for n in some
        ]
        for stored in await client.store_batch(stores):
            if isinstance(stored, ClientError):
                raise stored
        on_progress(len(stores))
    played: list[Played] = []
    for some in _slices(len(pairs)):
        lookups = [_lookup(pairs[n], names[n], threshold) for n in some]
        found = await client.lookup_batch(lookups)
        played += [_played(pairs[n], result) for n, result in zip(some, found, strict=True)]
        on_progress(len(lookups))
    return played


def _played(pair: Pair, found: Lookup | ClientError) -> Played:
    if isinstance(found, ClientError):
        raise found
    # With a shared namespace another pair's answer may come: for this pair nothing of its own was served.
    served = found.hit and found.text == _answer(pair)
    outcome = found.outcome
    threshold = outcome.effective_threshold if outcome.HasField("effective_threshold") else None
    return Played(pair, served, found.similarity, threshold)


def _lookup(pair: Pair, namespace: str, threshold: float | None) -> LookupArguments:
    arguments = LookupArguments(openai_json=_body(pair.asked), namespace=namespace)
    if threshold is not None:
        arguments["similarity_threshold"] = threshold
    return arguments


def _answer(pair: Pair) -> str:
    return f"The answer to {pair.pair_id}."


def _body(messages: Sequence[Message]) -> bytes:
    return json.dumps({"model": _MODEL, "messages": list(messages)}, ensure_ascii=False).encode()


def _slices(count: int) -> Iterator[range]:
    for start in range(0, count, _BATCH):
        yield range(start, min(start + _BATCH, count))
