"""Embed anew what another embedder made: partition by partition, as requests ask for them, in small slices.

A partition is a keyed hash over fields that include the embedder's fingerprint, and an entry doesn't keep those fields.
A request has them: it knows the partition that it has now and those that it had under other embedders. So the first
request that would find vectors in one of those names both, and the entries move from the one to the other. Each slice
is one commit, in which entries leave their old partition as they enter the new one. After a kill the next request goes
on where the last commit ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from semcache.errors import SemcacheError, ShuttingDownError
from semcache.model import KeyedRequest, Tier, Vector
from semcache.ports import Clock, Embedder, Store

_log = structlog.get_logger(__name__)

SLICE_TEXTS, SLICE_CHARS = 8, 500
"""Texts of one slice, and their characters together unless one alone has more: a forward pass of about 15 ms on two
cores, which is what a caller's text may wait for it."""
MAX_WANTED = 4_096
"""Partitions that may wait; a request that asks for a further one asks again later."""
_LONGEST_PAUSE_S = 2.0
_WAIT_WEIGHT = 20
"""Seconds of pause for each second that a caller's text would wait for the device: 50 ms of load stop it for one."""
_RETRY_S = 10.0
"""Seconds after a failure: of the model, or of a disk that is full."""
_REPORT_S = 10.0
"""Seconds between two lines of the log that tell of progress."""


def pause_s(took_s: float, expected_wait_s: float) -> float:
    """Return how long to leave the device to callers after a slice: as long as the slice took, and longer under load.

    Args:
        took_s: seconds from the slice's texts to its commit.
        expected_wait_s: seconds that a text which comes now would wait for the device.
    """
    return min(_LONGEST_PAUSE_S, took_s + _WAIT_WEIGHT * expected_wait_s)


@dataclass(slots=True)
class _Progress:
    """What was done since the last time that nothing was wanted."""

    began_s: float
    reported_s: float
    entries: int = 0
    partitions: int = 0


class Reembedding:
    """Moves entries of other embedders into the partitions of the current one. Used on the event loop."""

    def __init__(self, store: Store, embedder: Embedder, clock: Clock) -> None:
        """Prepare it; nothing is embedded before `run`."""
        self._store = store
        self._vectors = store.vectors
        self._embedder = embedder
        self._clock = clock
        self._wanted: dict[bytes, bytes] = {}
        self._woken = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Reembedding of {len(self._wanted)} partitions>"

    async def want(self, keyed: KeyedRequest) -> None:
        """Let what other embedders made in a request's partitions be embedded anew. It returns without suspending."""
        if not keyed.inert_partitions or keyed.cacheability.tier is not Tier.SEMANTIC:
            return
        for partition in keyed.inert_partitions:
            if len(self._wanted) >= MAX_WANTED:
                return
            if partition not in self._wanted and await self._vectors.has(partition):
                self._wanted[partition] = keyed.partition
                self._woken.set()

    async def run(self) -> None:
        """Embed anew what is wanted, until no other embedder's vectors are stored, or the server stops.

        A failure is logged, and the partition waits its turn again.
        """
        while self._vectors.other_embedders():
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._empty()
            except ShuttingDownError:
                return

    async def _empty(self) -> None:
        """Move the wanted partitions, the one first that was asked for first.

        Raises:
            ShuttingDownError: the store or the embedder is closing.
        """
        now_s = self._clock.monotonic()
        progress = _Progress(now_s, now_s)
        _log.info("story.reembedding_began", inert=self._store.stats().inert)
        while self._wanted:
            partition, target = next(iter(self._wanted.items()))
            try:
                await self._move(partition, target, progress)
            except ShuttingDownError:
                raise
            except SemcacheError as error:
                _log.warning("story.reembedding_failed", error=str(error), retry_s=_RETRY_S)
                await asyncio.sleep(_RETRY_S)
                self._wanted[partition] = self._wanted.pop(partition)  # Others come first now.
                continue
            del self._wanted[partition]
            progress.partitions += 1
        self._report("story.reembedded", progress)

    async def _move(self, partition: bytes, target: bytes, progress: _Progress) -> None:
        """Move all entries of a partition, slice by slice.

        Raises:
            SemcacheError: the embedder or the store refuses; what was moved stays moved.
        """
        while texts := await self._vectors.texts(partition, SLICE_TEXTS):
            began_s = self._clock.monotonic()
            vectors = await self._embedded(_slice(texts))
            progress.entries += await self._vectors.reembed(partition, target, vectors)
            now_s = self._clock.monotonic()
            if now_s - progress.reported_s >= _REPORT_S:
                progress.reported_s = now_s
                self._report("story.reembedding", progress)
            await asyncio.sleep(pause_s(now_s - began_s, self._embedder.expected_wait_s()))

    async def _embedded(self, texts: Mapping[int, str | None]) -> Mapping[int, Vector | None]:
        """Return the new vectors of texts; None where there is no text, or the model can't read all of it.

        Raises:
            OverloadedError, EmbeddingFailedError, ShuttingDownError: the embedder gives no vectors.
        """
        readable = {entry_id: text for entry_id, text in texts.items() if text is not None}
        # To tell whether a text fits takes its tokens: milliseconds for one that the former model's window allowed.
        if sum(map(len, readable.values())) <= SLICE_CHARS:
            fitting = self._fitting(readable)
        else:
            fitting = await asyncio.to_thread(self._fitting, readable)
        vectors = await self._embedder.embed(list(fitting.values())) if fitting else ()
        return {**dict.fromkeys(texts), **dict(zip(fitting, vectors, strict=True))}

    def _fitting(self, texts: Mapping[int, str]) -> Mapping[int, str]:
        """Return the texts that the model reads as a whole: a cut one would be compared by its beginning."""
        return {entry_id: text for entry_id, text in texts.items() if self._embedder.fits(text)}

    def _report(self, event: str, progress: _Progress) -> None:
        _log.info(
            event,
            entries=progress.entries,
            partitions=progress.partitions,
            seconds=round(self._clock.monotonic() - progress.began_s, 1),
            inert=self._store.stats().inert,
        )


def _slice(texts: Mapping[int, str | None]) -> Mapping[int, str | None]:
    """Return the first texts that have `SLICE_CHARS` characters together, at least one."""
    chosen: dict[int, str | None] = {}
    chars = 0
    for entry_id, text in texts.items():
        chars += len(text or "")
        if chosen and chars > SLICE_CHARS:
            break
        chosen[entry_id] = text
    return chosen
