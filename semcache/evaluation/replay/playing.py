"""Plays labelled pairs through a real server: stores one side, looks the other up."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from semcache.client import Client, ClientError, Lookup
from semcache.client.arguments import LookupArguments, StoreArguments
from semcache.evaluation.labels.pairs import Pair, body
from semcache.model import Status

_BATCH = 64
_BATCH_BYTES = 1 << 20
"""A quarter of the message size that servers take by default; a longer request travels alone."""


@dataclass(frozen=True, slots=True)
class Played:
    """What became of one pair.

    Attributes:
        pair: what was played.
        served: its own stored answer came back.
        similarity: the cosine to what was nearest; None where nothing was compared by meaning.
        threshold: what held for it; None as above.
        exact: the two are one request to the cache: served whatever the threshold.
    """

    pair: Pair
    served: bool
    similarity: float | None
    threshold: float | None
    exact: bool = False


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

    What was stored is removed at the end, however it ends, so that a server in use keeps nothing of it.

    Raises:
        ClientError: a request failed; a refused one names its pair.
    """
    run = f"eval-{secrets.token_hex(6)}"
    names = [run if shared else f"{run}-{number}" for number in range(len(pairs))]
    try:
        played = await _play(client, pairs, names, run, threshold=threshold, on_progress=on_progress)
    except BaseException:
        with suppress(ClientError):  # The first failure is the one to tell.
            await client.invalidate(tags=[run], apply=True)
        raise
    await client.invalidate(tags=[run], apply=True)
    return played


async def _play(
    client: Client,
    pairs: Sequence[Pair],
    names: Sequence[str],
    tag: str,
    *,
    threshold: float | None,
    on_progress: Callable[[int], None],
) -> list[Played]:
    for some in _slices([len(body(pair.stored)) for pair in pairs]):
        stores = [
            StoreArguments(openai_json=body(pairs[n].stored), namespace=names[n], answer=_answer(pairs[n]), tags=[tag])
            for n in some
        ]
        try:
            results = await client.store_batch(stores)
        except ClientError as error:
            raise _named(error, [pairs[n] for n in some]) from error
        for n, stored in zip(some, results, strict=True):
            if isinstance(stored, ClientError):
                raise _named(stored, [pairs[n]])
        on_progress(len(stores))
    played: list[Played] = []
    for some in _slices([len(body(pair.asked)) for pair in pairs]):
        lookups = [_lookup(pairs[n], names[n], threshold) for n in some]
        try:
            found = await client.lookup_batch(lookups)
        except ClientError as error:
            raise _named(error, [pairs[n] for n in some]) from error
        played += [_played(pairs[n], result) for n, result in zip(some, found, strict=True)]
        on_progress(len(lookups))
    return played


def _named(error: ClientError, pairs: Sequence[Pair]) -> ClientError:
    """The same failure with the pair that caused it; as it is where one of several may have."""
    if len(pairs) > 1 or error.reason == "UNREACHABLE":
        return error
    return ClientError(
        f"The pair {pairs[0].pair_id}: {error.message}",
        code=error.code,
        reason=error.reason,
        hint=error.hint or "Leave the pair out, or change the server's limits.",
        metadata=error.metadata,
        retry_after_s=error.retry_after_s,
    )


def _played(pair: Pair, found: Lookup | ClientError) -> Played:
    if isinstance(found, ClientError):
        raise _named(found, [pair])
    # With a shared namespace another pair's answer may come: for this pair nothing of its own was served.
    served = found.hit and found.text == _answer(pair)
    outcome = found.outcome
    threshold = outcome.effective_threshold if outcome.HasField("effective_threshold") else None
    return Played(pair, served, found.similarity, threshold, exact=served and found.status is Status.EXACT_HIT)


def _lookup(pair: Pair, namespace: str, threshold: float | None) -> LookupArguments:
    arguments = LookupArguments(openai_json=body(pair.asked), namespace=namespace)
    if threshold is not None:
        arguments["similarity_threshold"] = threshold
    return arguments


def _answer(pair: Pair) -> str:
    """One for each request: pairs that store the same one store the same answer, whatever their ids."""
    return f"The answer to {hashlib.sha256(body(pair.stored)).hexdigest()}."


def _slices(sizes: Sequence[int]) -> Iterator[range]:
    """Consecutive runs of at most `_BATCH` requests and, but for a single one, `_BATCH_BYTES`."""
    start, total = 0, 0
    for number, size in enumerate(sizes):
        if number > start and (number - start == _BATCH or total + size > _BATCH_BYTES):
            yield range(start, number)
            start, total = number, 0
        total += size
    if start < len(sizes):
        yield range(start, len(sizes))
