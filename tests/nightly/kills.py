"""Rounds of `kill -9` of a server, held against what its callers were told: `python -m tests.nightly kills`.

A round starts a server on the folder of the rounds before, holds it against their history, works under load until a
random operation is acknowledged, and kills the process. By its kind a round kills

- `start`: while the server starts;
- `load`: under load;
- `drain`: shortly after SIGTERM, with slow calls upstream;
- `evict`: under load in a store that is full by its own limit;
- `disk`: under load on a full disk, a tmpfs of its own. It needs the right to mount.

After its rounds a folder's server starts once more, stops in order, and the folder is checked: no damage, the rollup is
the sum of the log, and each acknowledged amount is in it.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from errno import ENOSPC
from pathlib import Path
from typing import Any

import grpc

from benchmarks.books import compare
from semcache.model import Purpose
from semcache.settings import StoreSettings
from semcache.store import check
from semcache.store.ledger_reader import LedgerReader
from semcache.store.rollup import rolled_up
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub
from tests.nightly.callers import Account, CallerOfMany, hold_against
from tests.nightly.forked import EndedError, ForkedServer, Sections
from tests.nightly.history import History
from tests.support.disks import mounted_disk

ROUNDS_OF_A_FOLDER = 20
CALLERS = 12
_MOST_OPERATIONS = 240
_SLOW_SHARE = 0.1
_START_S = 0.15
"""Within this a killed start is killed: a whole one takes about as long."""
_DRAIN_S = 0.3
_DISK_BYTES = 24 << 20
_FREE_BYTES = 300_000
"""Space that is left at most when the disk is said to be full."""
_MIB = 1 << 20
_HANG_S = 60.0

KINDS = ("start", "load", "drain", "evict", "disk")
_SETTINGS: dict[str, Sections] = {
    "usual": {"decision": {"threshold": 0.8}},
    "evict": {"decision": {"threshold": 0.8}, "store": {"max_bytes": 2 * _MIB, "map_size_bytes": 64 * _MIB}},
    "disk": {"decision": {"threshold": 0.8}, "store": {"without_ledger": "refuse"}},
}


@dataclass
class Kills:
    """What the rounds found.

    Attributes:
        rounds: how many of each kind.
        skipped: the kinds that can't run on this machine, with the reason.
        figures: sums over all folders.
        problems: broken promises, as sentences, by the kind of the folder and of the promise.
    """

    rounds: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    figures: Counter[str] = field(default_factory=Counter)
    problems: dict[str, list[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the rounds."""
        return {
            "rounds": dict(self.rounds),
            "skipped": self.skipped,
            **dict(sorted(self.figures.items())),
            "problems": {name: len(sentences) for name, sentences in self.problems.items()},
            "first_problems": {
                name: [*sentences[:2], *sentences[2:][-1:]] for name, sentences in self.problems.items()
            },
        }


class Folder:
    """A store's folder and the rounds that are played on it.

    Args:
        path: where all of it lies; `disk` mounts its file system there.
        kind: "usual", "evict" or "disk".
        seed: of everything that is drawn.
    """

    def __init__(self, path: Path, kind: str, seed: int) -> None:
        self._store = path / "store"
        self._log = path.parent / f"{path.name}.log"
        self._filler = path / "filler"
        self._kind = kind
        self._seed = seed
        self._chance = random.Random(seed)
        self.account = Account(History(evicts=kind != "usual"))
        self.figures: Counter[str] = Counter()

    @property
    def _problems(self) -> list[str]:
        return self.account.books.problems

    def play(self, kinds: Sequence[str], on_round: Callable[[str], None]) -> None:
        """Play one round of each kind, then the last life that ends in order, then compare."""
        for kind in kinds:
            asyncio.run(self._round(kind))
            self.account.life += 1
            on_round(kind)
        asyncio.run(self._last_life())
        self._audit()
        if self.problems():
            self._problems.append(f"the servers' log ends: {self._log_end()}")
        history = self.account.history
        self.figures.update(history.counts())
        self.figures.update(
            operations=self.account.acknowledged,
            evicted=history.evicted,
            refused_for_space=self.account.full,
            **{f"found_by_{status}": count for status, count in history.found.items()},
        )

    def problems(self) -> list[tuple[str, str]]:
        """Return the broken promises: what kind each is of, and a sentence."""
        return [*self.account.history.problems, *(("other", sentence) for sentence in self._problems)]

    def _server(self) -> ForkedServer:
        return ForkedServer(
            self._store,
            _SETTINGS[self._kind],
            log=self._log,
            answer_chars=4000 if self._kind == "evict" else 300,
            slow_share=_SLOW_SHARE,
            seed=self._chance.randrange(1 << 30),
        )

    async def _round(self, kind: str) -> None:
        if kind == "start":
            with self._server() as server:
                await asyncio.sleep(self._chance.random() * _START_S)
                self._kill(server)
            return
        if kind == "disk" and self._chance.random() < 0.5:
            self._filler.unlink(missing_ok=True)
        with self._started() as (server, address):
            async with grpc.aio.insecure_channel(address) as channel:
                stub = SemanticCacheServiceStub(channel)
                self.figures["held"] += await hold_against(stub, self.account)
                if kind == "disk":
                    self._fill_disk()
                    self.account.disk_filled = True
                await self._work(stub, server, drain=kind == "drain")

    async def _work(self, stub: SemanticCacheServiceStub, server: ForkedServer, *, drain: bool) -> None:
        """Let all callers act until a random operation, then kill the server while they go on."""
        enough = self.account.acknowledged + self._chance.randrange(1, _MOST_OPERATIONS)
        reached = asyncio.Event()

        async def act(number: int) -> None:
            seed = self._seed * 1009 + number
            caller = CallerOfMany(stub, self.account, seed, random.Random(seed * 1009 + self.account.life))
            while await caller.act():
                if self.account.acknowledged >= enough:
                    reached.set()
            reached.set()

        acting = [asyncio.create_task(act(number)) for number in range(CALLERS)]
        try:
            await asyncio.wait_for(reached.wait(), _HANG_S)
        except TimeoutError:
            self._problems.append(f"the server acknowledged nothing for {_HANG_S:.0f} s: {self._log_end()}")
        if drain:
            server.signal(signal.SIGTERM)
            await asyncio.sleep(self._chance.random() * _DRAIN_S)
        self._kill(server)
        await asyncio.gather(*acting)

    def _kill(self, server: ForkedServer) -> None:
        server.signal(signal.SIGKILL)
        code = server.end()
        self.figures["killed" if code == -signal.SIGKILL else "had_ended"] += 1
        if code not in {0, -signal.SIGKILL}:
            self._problems.append(f"the server ended with {code} before it was killed: {self._log_end()}")

    @contextmanager
    def _started(self) -> Iterator[tuple[ForkedServer, str]]:
        """Start a server; where a full disk refuses that with a sentence, make space and start it again."""
        server = self._server()
        try:
            address = server.address()
        except EndedError as error:
            if not self._filler.exists() or error.code != 1 or "store.path must be" not in error.log:
                raise
            self.figures["starts_refused_on_a_full_disk"] += 1
            self._filler.unlink()
            server = self._server()
            address = server.address()
        with server:
            yield server, address

    async def _last_life(self) -> None:
        self._filler.unlink(missing_ok=True)
        with self._started() as (server, address):
            async with grpc.aio.insecure_channel(address) as channel:
                self.figures["held"] += await hold_against(SemanticCacheServiceStub(channel), self.account)
            server.signal(signal.SIGTERM)
            code = server.end()
        if code != 0:
            self._problems.append(f"the server ended with {code} after SIGTERM: {self._log_end()}")

    def _audit(self) -> None:
        """Check the store, and compare its ledger with itself and with what callers were told."""
        settings = StoreSettings(path=self._store, map_size_bytes=1 << 30)
        report = check(settings)
        if not report.clean:
            self._problems.append(f"check found {report.problem_count} problems: {report.problems[:3]}")
        with LedgerReader(settings) as reader:
            lines = list(reader.records(0, 2**40))
            hours = reader.hours(0, 2**40)
        spent = sum(hour.spent_nanousd for hour in hours)
        if spent < self.account.spent_nanousd:
            self._problems.append(f"the ledger has {spent} nanodollars, callers were told {self.account.spent_nanousd}")
        # The rollup is never trimmed: it knows more requests than the log where old lines were deleted.
        if sum(hour.requests for hour in hours) > sum(line.requests for line in lines):
            self.figures["folders_with_a_trimmed_log"] += 1
            if self._kind != "evict":
                self._problems.append("the rollup has requests that the log doesn't have")
            return
        if sorted(rolled_up(lines).values(), key=repr) != sorted(hours, key=repr):
            self._problems.append("the rollup isn't the sum of the log")
        lives = self.account.life + 1
        # The line of a wrong verdict has the hit's request id.
        requests = [line for line in lines if line.purpose is not Purpose.WRONG_HIT]
        compared = compare(self.account.books, requests, lives, set(range(lives)))
        self.figures["lines_compared"] += compared["told"]
        self.figures["savings_lost_to_kills"] += compared["lost_to_kills"]

    def _fill_disk(self) -> None:
        free = shutil.disk_usage(self._filler.parent).free - self._chance.randrange(_FREE_BYTES)
        try:
            with self._filler.open("ab", buffering=0) as filler:
                filler.write(bytes(max(0, free)))
        except OSError as error:
            if error.errno != ENOSPC:  # The server has written meanwhile: then the disk is full as it is.
                raise

    def _log_end(self) -> str:
        return self._log.read_text("utf-8", "replace")[-1000:]


@contextmanager
def _usual_disk(path: Path) -> Iterator[Path]:
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)


def play(folder: Path, *, rounds: int, seed: int, on_progress: Callable[[str], None] = print) -> Kills:
    """Play so many rounds, a fifth of each kind, on as many folders as that takes.

    Args:
        folder: an empty folder on a real disk; what is left in it afterwards is logs of servers.
        rounds: how many kills.
        seed: of everything that is drawn; the moments of the kills depend on the machine as well.
        on_progress: called with a line now and then.
    """
    kills = Kills()
    started = time.monotonic()
    for number, (kind, kinds) in enumerate(_plan(rounds)):

        def count(played: str) -> None:
            kills.rounds[played] += 1
            if kills.rounds.total() % 50 == 0:
                on_progress(f"{kills.rounds.total()} kills in {time.monotonic() - started:.0f} s")

        path = folder / f"folder{number}"
        try:
            with mounted_disk(path, _DISK_BYTES) if kind == "disk" else _usual_disk(path):
                played = Folder(path, kind, seed * 10_007 + number)
                try:
                    played.play(kinds, count)
                except EndedError as error:
                    played.account.books.problems.append(f"a server didn't start: {error}")
                kills.figures.update(played.figures)
                for what, sentence in played.problems():
                    kills.problems.setdefault(f"{kind}: {what}", []).append(f"folder {number}: {sentence}")
        except PermissionError as error:
            kills.skipped[kind] = str(error)
    return kills


def _plan(rounds: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the kind of each folder and the kinds of its rounds: of each kind as many as of the others."""
    of_kind = Counter(KINDS[number % len(KINDS)] for number in range(rounds))
    usual = [kind for kind in ("load", "drain", "start") for _ in range(of_kind[kind])]
    random.Random(rounds).shuffle(usual)
    for folder, kinds in (
        ("usual", usual),
        ("evict", ["evict"] * of_kind["evict"]),
        ("disk", ["disk"] * of_kind["disk"]),
    ):
        for start in range(0, len(kinds), ROUNDS_OF_A_FOLDER):
            yield folder, kinds[start : start + ROUNDS_OF_A_FOLDER]
