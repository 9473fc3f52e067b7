"""Plays labelled pairs through a real server: stores one side of each pair and looks up the other."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from semcache.client import Client, ClientError, Lookup
from semcache.client.arguments import LookupArguments, StoreArguments
from semcache.evaluation.labels.pairs import LabelledPair, body
from semcache.model import Status

_BATCH = 64
"""Requests in one message: one call's overhead is shared by enough of them."""
_BATCH_BYTES = 1 << 20
"""Bytes of requests in one message: a quarter of a server's default limit. A longer request travels alone."""


@dataclass(frozen=True, slots=True)
class PlayedPair:
    """The result of one pair.

    Attributes:
        pair: the pair.
        served: whether the answer stored for this pair was served.
        similarity: the cosine to the nearest entry; None if nothing was compared by meaning.
        threshold: the similarity threshold that the server applied; None if it applied none.
        exact: whether both sides have one exact key, so that any threshold serves the pair.
    """

    pair: LabelledPair
    served: bool
    similarity: float | None
    threshold: float | None
    exact: bool = False


async def play_pairs(
    client: Client,
    pairs: Sequence[LabelledPair],
    threshold: float | None,
    *,
    shared: bool,
    on_progress: Callable[[int], None],
) -> list[PlayedPair]:
    """Store one side of every pair, then look up the other sides, in new namespaces.

    All stored entries are removed at the end, also after a failure, so that a server in use keeps none of them.

    Args:
        client: a client of the server.
        pairs: the pairs to play.
        threshold: the similarity threshold that requests name; the server's own applies as well. None for none.
        shared: True puts all pairs into one namespace, where they meet each other; False gives each its own.
        on_progress: called with the number of requests answered since its last call.

    Returns:
        The result of each pair, in the order of `pairs`.

    Raises:
        ClientError: a request failed; a refused one names its pair.
    """
    run = f"eval-{secrets.token_hex(6)}"
    names = [run if shared else f"{run}-{number}" for number in range(len(pairs))]
    try:
        played = await _play(client, pairs, names, run, threshold=threshold, on_progress=on_progress)
    except BaseException:
        with suppress(ClientError):  # Report the first failure, not one of the clean-up.
            await client.invalidate(tags=[run], apply=True)
        raise
    await client.invalidate(tags=[run], apply=True)
    return played


async def _play(
    client: Client,
    pairs: Sequence[LabelledPair],
    names: Sequence[str],
    tag: str,
    *,
    threshold: float | None,
    on_progress: Callable[[int], None],
) -> list[PlayedPair]:
    for positions in _slices([len(body(pair.stored)) for pair in pairs]):
        stores = [
            StoreArguments(openai_json=body(pairs[n].stored), namespace=names[n], answer=_answer(pairs[n]), tags=[tag])
            for n in positions
        ]
        try:
            results = await client.store_batch(stores)
        except ClientError as error:
            raise _with_pair(error, [pairs[n] for n in positions]) from error
        for n, stored in zip(positions, results, strict=True):
            if isinstance(stored, ClientError):
                raise _with_pair(stored, [pairs[n]])
        on_progress(len(stores))
    played: list[PlayedPair] = []
    for positions in _slices([len(body(pair.asked)) for pair in pairs]):
        lookups = [_lookup(pairs[n], names[n], threshold) for n in positions]
        try:
            answers = await client.lookup_batch(lookups)
        except ClientError as error:
            raise _with_pair(error, [pairs[n] for n in positions]) from error
        played += [_played(pairs[n], result) for n, result in zip(positions, answers, strict=True)]
        on_progress(len(lookups))
    return played


def _with_pair(error: ClientError, pairs: Sequence[LabelledPair]) -> ClientError:
    """Return the error with its pair's name; return it unchanged if several pairs may have caused it."""
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


def _played(pair: LabelledPair, answers: Lookup | ClientError) -> PlayedPair:
    if isinstance(answers, ClientError):
        raise _with_pair(answers, [pair])
    # In a shared namespace another pair's answer may come back, which says nothing about this pair.
    served = answers.hit and answers.text == _answer(pair)
    outcome = answers.outcome
    threshold = outcome.effective_threshold if outcome.HasField("effective_threshold") else None
    return PlayedPair(pair, served, answers.similarity, threshold, exact=served and answers.status is Status.EXACT_HIT)


def _lookup(pair: LabelledPair, namespace: str, threshold: float | None) -> LookupArguments:
    arguments = LookupArguments(openai_json=body(pair.asked), namespace=namespace)
    if threshold is not None:
        arguments["similarity_threshold"] = threshold
    return arguments


def _answer(pair: LabelledPair) -> str:
    """Return an answer that depends on the stored request alone: pairs that store one request store one answer."""
    return f"The answer to {hashlib.sha256(body(pair.stored)).hexdigest()}."


def _slices(sizes: Sequence[int]) -> Iterator[range]:
    """Yield consecutive ranges of at most `_BATCH` requests and `_BATCH_BYTES`; a longer request is a range alone."""
    start, total = 0, 0
    for number, size in enumerate(sizes):
        if number > start and (number - start == _BATCH or total + size > _BATCH_BYTES):
            yield range(start, number)
            start, total = number, 0
        total += size
    if start < len(sizes):
        yield range(start, len(sizes))
