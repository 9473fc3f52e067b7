"""Flipped bits and truncations of a data file, seen by `check`, a server, `--repair` and a server again.

`python -m tests.nightly flips`. Each damage has processes of its own. It breaks a promise if

- a process ends by a signal, or hangs;
- a request gets an answer that isn't its own, before or after the repair;
- something is missing or a start is refused, and `check` says that all is well;
- the store isn't clean after a repair that wasn't refused, or a server doesn't start on it;
- a repair that was refused changed the file.

Before them, every bit of all that LMDB trusts in a smaller store is flipped (`play_headers`): the start must find it,
or it must harm nobody.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc

from semcache.errors import SemcacheError
from semcache.settings import StoreSettings
from semcache.store import check, repair
from semcache.v1 import semcache_pb2 as pb
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub
from tests.fault.page_headers import Played, trusted_bytes
from tests.fault.page_headers import play as play_flips
from tests.fault.reading import fill
from tests.integration.calls import prompt
from tests.nightly.callers import request_texts, tag_of
from tests.nightly.forked import EndedError, Forked, ForkedServer

_DATA = "data.mdb"
_PAGE = 4096
_CALLERS = 4
_STRANGERS = 10_000
"""Seed of requests that nobody stored."""
_ANSWER_CHARS = (0, 200, 2_000, 9_000)
"""Some answers take several pages of their own."""
_REFUSED = "refused: "
_HEADERS_AT_ONCE = 5_000
_SETTINGS = {
    "decision": {"threshold": 0.8},
    "log": {"level": "error"},
    "store": {"ledger_room_bytes": 65536},  # Of the default most of the file would be room, where no flip harms.
}


@dataclass
class Flips:
    """What the damages showed: how many of each kind and end, and broken promises as sentences."""

    figures: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the damages."""
        return {
            **dict(sorted(self.figures.items())),
            "problems": len(self.problems),
            "first_problems": self.problems[:20],
        }


@dataclass(frozen=True, slots=True)
class Truth:
    """A whole store: its data file, the answer of each request, and what its ledger says was spent."""

    data: bytes
    answers: Mapping[str, str]
    spent_nanousd: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server gave of a store: answers that were right, those that weren't, and how many were missing."""

    right: int
    missing: int
    wrong: tuple[str, ...]
    spent_nanousd: int | None
    failed: Mapping[str, int]


def settings_of(store: Path) -> StoreSettings:
    return StoreSettings(path=store, map_size_bytes=1 << 30)


def _check(connection: Connection, store: Path) -> None:
    connection.send(_outcome(lambda: check(settings_of(store)).problem_count))


def _repair(connection: Connection, store: Path) -> None:
    connection.send(_outcome(lambda: repair(settings_of(store)).problem_count))


def _outcome(work: Callable[[], int]) -> int | str:
    try:
        return work()
    except SemcacheError as error:
        return f"{_REFUSED}{error.reason}"


async def _fill(stub: SemanticCacheServiceStub) -> dict[str, str]:
    """Store an answer for every request but the last paraphrase of each caller; return the answers."""
    answers: dict[str, str] = {}
    for seed in range(_CALLERS):
        texts = request_texts(seed)
        for number, text in enumerate([text for pair in texts for text in pair][:-1]):
            answer = json.dumps([text, f"stored {number}"])
            answer += " " * _ANSWER_CHARS[number % len(_ANSWER_CHARS)]
            usage = pb.Usage(input_tokens=number + 10, output_tokens=number + 20)
            request = pb.StoreRequest(prompt=prompt(text), text=answer, tags=[tag_of(text)], usage=usage)
            stored = await stub.Store(request)
            assert stored.stored, stored
            answers[text] = answer
    return answers


async def _see(stub: SemanticCacheServiceStub, truth: Mapping[str, str]) -> Seen:
    """Ask for everything, and for requests that nobody stored."""
    partner: dict[str, str] = {}
    for seed in range(_CALLERS):
        for text, paraphrase in request_texts(seed):
            partner |= {text: paraphrase, paraphrase: text}
    strangers = [text for pair in request_texts(_STRANGERS) for text in pair]
    texts = [*partner, *strangers]
    right, missing, wrong, failed = 0, 0, [], Counter[str]()
    for start in range(0, len(texts), 128):
        batch = texts[start : start + 128]
        requests = [pb.LookupRequest(prompt=prompt(text)) for text in batch]
        results = (await stub.LookupBatch(pb.LookupBatchRequest(requests=requests), timeout=60)).results
        for text, result in zip(batch, results, strict=True):
            if result.HasField("error"):
                failed[result.error.reason] += 1
                continue
            got = result.response.text
            exact = result.response.outcome.status == pb.STATUS_EXACT_HIT
            if got and got != (truth.get(text) if exact else truth.get(partner.get(text, ""))):
                wrong.append(f"{text!r} got {got.strip()!r}")
            elif exact:
                right += 1
            else:
                missing += text in truth
    spent: int | None = None
    try:
        spent = (await stub.GetSavings(pb.GetSavingsRequest(), timeout=60)).total.spent_nanousd
        async for _ in stub.ListEntries(pb.ListEntriesRequest(), timeout=60):
            pass
        await stub.Store(pb.StoreRequest(prompt=prompt(strangers[0]), text=json.dumps([strangers[0], "new"])))
        await stub.Invalidate(pb.InvalidateRequest(tags=[tag_of(next(iter(truth)))], apply=True), timeout=60)
    except grpc.aio.AioRpcError as error:
        failed[error.code().name] += 1
    return Seen(right, missing, tuple(wrong), spent, failed)


class Damages:
    """Plays damages of one store's file.

    Args:
        folder: an empty folder.
        seed: of what is damaged.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._store = folder / "store"
        self._log = folder / "server.log"
        self._chance = random.Random(seed)
        self.flips = Flips()
        with ForkedServer(self._store, _SETTINGS, log=self._log) as server:
            answers, spent = asyncio.run(self._filled(server.address()))
            server.signal(signal.SIGTERM)
            assert server.end() == 0
        self.truth = Truth((self._store / _DATA).read_bytes(), answers, spent)

    async def _filled(self, address: str) -> tuple[dict[str, str], int]:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = SemanticCacheServiceStub(channel)
            answers = await _fill(stub)
            return answers, (await stub.GetSavings(pb.GetSavingsRequest())).total.spent_nanousd

    def draw(self) -> tuple[str, bytes]:
        """Return the name of a damage, and the damaged file."""
        data = self.truth.data
        kind = self._chance.choices(("flip", "flip in a page's header", "truncation"), (6, 2, 2))[0]
        if kind == "truncation":
            size = self._chance.choice(
                (self._chance.randrange(len(data)) // _PAGE * _PAGE, self._chance.randrange(len(data)))
            )
            return f"{kind} to {size} of {len(data)} bytes", data[:size]
        position = self._chance.randrange(len(data))
        if kind != "flip":
            position = position // _PAGE * _PAGE + self._chance.randrange(16)
        bit = self._chance.randrange(8)
        damaged = bytearray(data)
        damaged[position] ^= 1 << bit
        return f"{kind}: bit {bit} of byte {position}", bytes(damaged)

    def play(self, name: str, damaged: bytes) -> None:
        """Play one damage, and record what it showed."""
        self.flips.figures[name.split(" ", 1)[0].rstrip(":")] += 1
        self._put(damaged)
        found = self._ask(_check, name)
        before = self._serve(name)
        self._put(damaged)
        repaired = self._ask(_repair, name)
        refused = str(repaired).startswith(_REFUSED)
        if refused:
            self.flips.figures["repair_refused"] += 1
            if (self._store / _DATA).read_bytes() != damaged:
                self._problem(name, "a repair that was refused changed the file")
        else:
            clean = self._ask(_check, name)
            if clean != 0:
                self._problem(name, f"after the repair check says {clean}")
            after = self._serve(name)
            if isinstance(after, Seen):
                self.flips.figures["answers_kept"] += after.right
            else:
                self._problem(name, f"no server starts after the repair: {after}")
        if before is None or isinstance(before, str) or before.missing or before.failed:
            self.flips.figures["harmed"] += 1
            if found == 0:
                self._problem(name, f"check found nothing, and a server gave {before}")
        elif before.spent_nanousd != self.truth.spent_nanousd:
            self._problem(name, f"{before.spent_nanousd} are told as spent, check says {found}")
        self.flips.figures["found_by_check"] += found != 0

    def _put(self, data: bytes) -> None:
        """Make the store the damaged file and its secret alone."""
        for path in self._store.iterdir():
            if path.name != "partition.secret":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self._store / _DATA).write_bytes(data)

    def _ask(self, work: Callable[[Connection, Path], None], name: str) -> int | str | None:
        with Forked(work, self._store, log=self._log) as process:
            try:
                answer: int | str = process.receive()
            except EndedError as error:
                self._problem(name, f"{work.__name__.strip('_')} ended by itself: {error}")
                return None
            return answer

    def _serve(self, name: str) -> Seen | str | None:
        """Return what a server gives; the reason as a sentence where it refuses to start, None where it died."""
        with ForkedServer(self._store, _SETTINGS, log=self._log) as server:
            try:
                seen = asyncio.run(self._seen(server.address()))
            except EndedError as error:
                if error.code == 1:
                    self.flips.figures["start_refused"] += 1
                    return error.log.strip().splitlines()[-1]
                self._problem(name, f"a server that starts ended by itself: {error}")
                return None
            except grpc.aio.AioRpcError as error:
                server.signal(signal.SIGTERM)
                self._problem(
                    name, f"a call failed with {error.code()}: {error.details()}; it ended with {server.end()}"
                )
                return None
            server.signal(signal.SIGTERM)
            code = server.end()
        if code != 0:
            self._problem(name, f"the server ended with {code} after SIGTERM: {self._log.read_text()[-1000:]}")
        for sentence in seen.wrong:
            self._problem(name, sentence)
        return seen

    async def _seen(self, address: str) -> Seen:
        async with grpc.aio.insecure_channel(address) as channel:
            return await _see(SemanticCacheServiceStub(channel), self.truth.answers)

    def _problem(self, name: str, sentence: str) -> None:
        self.flips.problems.append(f"{name}: {sentence}")


def play_headers(folder: Path, *, every: int, on_progress: Callable[[str], None] = print) -> Played:
    """Flip every bit, or one of so many, of the headers, page numbers and records of a small store.

    Args:
        folder: a folder that doesn't exist.
        every: which share of the bits: 1 is all.
        on_progress: called with a line now and then.
    """
    whole = folder / "whole"
    asyncio.run(fill(whole))
    data = (whole / _DATA).read_bytes()
    flips = [(place, bit) for place in trusted_bytes(whole / _DATA) for bit in range(8)][::every]
    played = Played()
    for start in range(0, len(flips), _HEADERS_AT_ONCE):
        part = folder / "flips"
        part.mkdir()
        played.add(play_flips(data, flips[start : start + _HEADERS_AT_ONCE], part))
        shutil.rmtree(part)
        done = min(start + _HEADERS_AT_ONCE, len(flips))
        on_progress(f"{done} of {len(flips)} bits of headers, {len(played.problems)} problems")
    return played


def play(folder: Path, *, flips: int, seed: int, on_progress: Callable[[str], None] = print) -> Flips:
    """Play so many damages of one file.

    Args:
        folder: a folder that doesn't exist.
        flips: how many damages, three in five of them of a bit anywhere.
        seed: of what is damaged; the file itself differs a little from run to run.
        on_progress: called with a line now and then.
    """
    started = time.monotonic()
    folder.mkdir()
    damages = Damages(folder, seed)
    for number in range(1, flips + 1):
        damages.play(*damages.draw())
        if number % 10 == 0:
            problems = len(damages.flips.problems)
            on_progress(f"{number} damages in {time.monotonic() - started:.0f} s, {problems} problems")
    return damages.flips
