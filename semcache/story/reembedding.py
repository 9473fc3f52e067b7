"""Embed anew what another embedder made: partition by partition, as requests ask for them, in small slices.

A partition is a keyed hash over fields that include the embedder's fingerprint, and an entry doesn't keep those fields.
A request has them: it knows the partition that it has now and those that it had under other embedders. So the first
request that would find vectors in one of those names both, and the entries move from the one to the other. They are
embedded a few at a time. Each commit moves some of them: they leave their old partition as they enter the new one.
After a kill the next request lets the rest follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import structlog

from semcache.errors import EmbeddingFailedError, OverloadedError, SemcacheError, ShuttingDownError
from semcache.model import KeyedRequest, Tier, Vector
from semcache.ports import Clock, Embedder, Store

_log = structlog.get_logger(__name__)

SLICE_TEXTS, SLICE_CHARS = 4, 300
"""Texts that are embedded at once, and their characters together unless one alone has more. A caller's text may wait
for their forward pass, so that it has to be short: about 80 tokens."""
COMMIT_ENTRIES = 32
"""Entries that move in one commit: what a kill lets be embedded once more, and what other writes may wait for."""
MAX_WANTED = 4_096
"""Partitions that may wait; a request that asks for a further one asks again later."""
_LONGEST_PAUSE_S = 2.0
_WAIT_WEIGHT = 20
"""Seconds of pause for each second that a caller's text would wait for the device: 50 ms of load stop it for one."""
_RETRY_S = 10.0
"""Seconds after a failure: of the model, or of a disk that is full."""
_PROBE = "What is the capital of France?"
"""A text that every model can embed: where it fails too, the text that failed before isn't to blame."""
_REPORT_S = 10.0
"""Seconds between two lines of the log that tell of progress."""


def pause_s(took_s: float, expected_wait_s: float) -> float:
    """Return how long to leave the device to callers after a slice: as long as the slice took, and longer under load.

    Args:
        took_s: seconds for which the slice waited and was computed.
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
            except Exception as error:  # noqa: BLE001 - whatever it is, the task must go on for the other partitions
                expected = isinstance(error, SemcacheError)
                cause = str(error) if expected else f"{type(error).__name__}: {error}"
                _log.warning("story.reembedding_failed", error=cause, retry_s=_RETRY_S, exc_info=not expected)
                await asyncio.sleep(_RETRY_S)
                self._wanted[partition] = self._wanted.pop(partition)  # Others come first now.
                continue
            del self._wanted[partition]
            progress.partitions += 1
        _log.info("story.reembedded", **self._fields(progress))

    async def _move(self, partition: bytes, target: bytes, progress: _Progress) -> None:
        """Move all entries of a partition, commit by commit.

        Raises:
            SemcacheError: the embedder or the store refuses; what was embedded before is moved, and stays so.
        """
        while texts := await self._vectors.texts(partition, COMMIT_ENTRIES):
            vectors: dict[int, Vector | None] = {}
            try:
                for chosen in _slices(texts):
                    began_s = self._clock.monotonic()
                    vectors |= await self._embedded(chosen)
                    took_s = self._clock.monotonic() - began_s
                    await asyncio.sleep(pause_s(took_s, self._embedder.expected_wait_s()))
            except (OverloadedError, EmbeddingFailedError):
                if vectors:
                    progress.entries += await self._vectors.reembed(partition, target, vectors)
                raise
            progress.entries += await self._vectors.reembed(partition, target, vectors)
            now_s = self._clock.monotonic()
            if now_s - progress.reported_s >= _REPORT_S:
                progress.reported_s = now_s
                _log.info("story.reembedding", **self._fields(progress))

    async def _embedded(self, texts: Mapping[int, str | None]) -> Mapping[int, Vector | None]:
        """Return the new vectors of texts; None where there is no text, the model can't read all of it, or fails on it.

        Raises:
            OverloadedError, EmbeddingFailedError, ShuttingDownError: the embedder gives no vectors of any text.
        """
        readable = {entry_id: text for entry_id, text in texts.items() if text is not None}
        # To tell whether a text fits takes its tokens: milliseconds for one that the former model's window allowed.
        if sum(map(len, readable.values())) <= SLICE_CHARS:
            fitting = self._fitting(readable)
        else:
            fitting = await asyncio.to_thread(self._fitting, readable)
        try:
            vectors: Iterable[Vector | None] = await self._embedder.embed(list(fitting.values())) if fitting else ()
        except EmbeddingFailedError:  # One text may be to blame, of these or of the callers' in the same batch.
            vectors = [await self._embedded_alone(text) for text in fitting.values()]
        return {**dict.fromkeys(texts), **dict(zip(fitting, vectors, strict=True))}

    async def _embedded_alone(self, text: str) -> Vector | None:
        """Return the vector of one text; None where the model fails on this text and not on another.

        Raises:
            OverloadedError, EmbeddingFailedError, ShuttingDownError: the embedder gives no vectors of any text.
        """
        try:
            vector: Vector = (await self._embedder.embed([text]))[0]
        except EmbeddingFailedError as error:
            await self._embedder.embed([_PROBE])  # A device that is lost must not cost all entries their vectors.
            _log.warning("story.reembedding_text_failed", error=str(error), chars=len(text))
            return None
        return vector

    def _fitting(self, texts: Mapping[int, str]) -> Mapping[int, str]:
        """Return the texts that the model reads as a whole: a cut one would be compared by its beginning."""
        return {entry_id: text for entry_id, text in texts.items() if self._embedder.fits(text)}

    def _fields(self, progress: _Progress) -> Mapping[str, float]:
        """Return what a line of the log tells of progress."""
        return {
            "entries": progress.entries,
            "partitions": progress.partitions,
            "seconds": round(self._clock.monotonic() - progress.began_s, 1),
            "inert": self._store.stats().inert,
        }


def _slices(texts: Mapping[int, str | None]) -> Iterator[Mapping[int, str | None]]:
    """Yield all texts in their order, as many at a time as may be embedded at once."""
    chosen: dict[int, str | None] = {}
    chars = 0
    for entry_id, text in texts.items():
        if chosen and (len(chosen) == SLICE_TEXTS or chars + len(text or "") > SLICE_CHARS):
            yield chosen
            chosen, chars = {}, 0
        chosen[entry_id] = text
        chars += len(text or "")
    yield chosen
