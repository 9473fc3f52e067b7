"""Play requests at servers that are killed and stopped in between, then compare all records of money.

`python -m benchmarks.books [--requests N] [--lives N] [--callers N] [--seed N]`. gRPC,
LMDB and accounting are real; the model and the upstream are fakes, since only nanodollars are counted. The exit code is
1 if a single nanodollar is missing that the design promises (docs/costs.md, Durability).
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from benchmarks.server_process import scratch
from benchmarks.worker import Worker, say
from semcache.cli.cost.export import ExportFormat, export
from semcache.model import HIT_STATUSES, LedgerHour, LedgerRecord, Status, Usage
from semcache.settings import StoreSettings
from semcache.store.ledger_reader import LedgerReader
from semcache.store.rollup import rolled_up
from semcache.v1 import semcache_pb2 as pb
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub

MODELS = ("gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5", "a-model-that-nobody-prices")
PROMPTS = 400
BUDGET = "all"
REFUSED_S = 0.05
"""How long a caller waits whose call was refused for load."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one caller was told of one request; `began` and `ended` are positions in the order of all events."""

    request_id: str
    status: str
    spent_nanousd: int
    saved_nanousd: int
    began: int
    ended: int
    life: int


@dataclass
class Books:
    """The sums over what the callers were told."""

    told: list[Told] = field(default_factory=list)
    failed: int = 0
    moments: int = 0
    problems: list[str] = field(default_factory=list)

    def moment(self) -> int:
        self.moments += 1
        return self.moments


def request_of(chance: random.Random) -> tuple[str, pb.Prompt, pb.CacheControl]:
    """Return the kind of call, its request, and how it is sent."""
    number = min(int(chance.paretovariate(1.1)), PROMPTS)
    kind = chance.choices(("plain", "stream", "lookup", "store"), (6, 2, 1, 1))[0]
    mode = chance.choices((pb.CACHE_MODE_DEFAULT, pb.CACHE_MODE_BYPASS, pb.CACHE_MODE_REFRESH), (12, 1, 1))[0]
    trouble = chance.choices(("", "fails ", "breaks off ", "tells no usage "), (30, 1, 1, 2))[0]
    text = f"{trouble}How do I reset the password of account {number} of the wiki?"
    body = {"model": chance.choice(MODELS), "messages": [{"role": "user", "content": text}]}
    prompt = pb.Prompt(openai_json=json.dumps(body).encode(), task_type=chance.choice(("", "code", "support")))
    return kind, prompt, pb.CacheControl(mode=pb.CACHE_MODE_DEFAULT if kind == "lookup" else mode)


async def ask(stub: SemanticCacheServiceStub, books: Books, chance: random.Random, life: int) -> None:
    """Send one call and return what its caller was told.

    Raises:
        grpc.aio.AioRpcError: the server is gone.
    """
    kind, prompt, control = request_of(chance)
    began = books.moment()
    try:
        if kind == "store":
            usage = pb.Usage(input_tokens=chance.randrange(1, 9_000), output_tokens=chance.randrange(1, 900))
            stored = await stub.Store(pb.StoreRequest(prompt=prompt, text="mine", usage=usage))
            spending = (stored.request_id, Status.MISS.value, stored.cost.total_nanousd, 0)
            books.told.append(Told(*spending, began, books.moment(), life))
            return
        if kind == "stream":
            call = stub.CompleteStream(pb.CompleteStreamRequest(prompt=prompt, control=control))
            frames = [frame async for frame in call]
            outcome = frames[-1].finished.outcome
        elif kind == "lookup":
            outcome = (await stub.Lookup(pb.LookupRequest(prompt=prompt, control=control))).outcome
        else:
            outcome = (await stub.Complete(pb.CompleteRequest(prompt=prompt, control=control))).outcome
    except grpc.aio.AioRpcError as error:
        books.failed += 1
        if "more calls than it can answer" in str(error.details()):  # It has no line in the ledger.
            await asyncio.sleep(REFUSED_S)
            return
        if not any(word in str(error.details()) for word in ("scripted", "broke off")):
            raise
        return
    status = pb.Status.Name(outcome.status).removeprefix("STATUS_").lower()
    money = (outcome.cost.total_nanousd, outcome.saved.total_nanousd)
    books.told.append(Told(outcome.request_id, status, *money, began, books.moment(), life))


async def live(server: Worker, books: Books, *, requests: int, callers: int, life: int, seed: int, kill: bool) -> None:
    """Run one life of a server, until it is killed or, with `kill` False, until it has stopped in order."""
    async with grpc.aio.insecure_channel(server.ready["address"]) as channel:
        stub = SemanticCacheServiceStub(channel)
        unsent = requests

        async def call(number: int) -> None:
            nonlocal unsent
            chance = random.Random(seed * 1_000_003 + life * 1_009 + number)
            while unsent > 0:
                unsent -= 1
                if kill and unsent == 0:
                    server.kill()
                try:
                    await ask(stub, books, chance, life)
                except grpc.aio.AioRpcError as error:
                    if not kill:
                        books.problems.append(f"life {life}: {error.code()}: {error.details()}")
                    return

        before = books.moments and await stub.GetSavings(pb.GetSavingsRequest())
        await asyncio.gather(*(call(number) for number in range(callers)))
        if not kill:
            stats = await stub.GetStats(pb.GetStatsRequest())
            savings = await stub.GetSavings(pb.GetSavingsRequest())
            for name in ("spent_nanousd", "saved_nanousd"):
                counted, total = getattr(stats, name), getattr(savings.total, name)
                if counted != total - (getattr(before.total, name) if before else 0):
                    books.problems.append(
                        f"life {life}: the counters' {name} is {counted}, the ledger's gain is another"
                    )


def compare(books: Books, lines: Sequence[LedgerRecord], lives: int, killed: set[int]) -> dict[str, int]:
    """Compare what callers were told with the log; only what a kill may take is allowed to be missing."""
    by_id = {line.request_id: line for line in lines}
    if len(by_id) != len(lines):
        books.problems.append("two lines of the log have one request id")
    lost = 0
    for life in range(lives):
        in_this_life = [one for one in books.told if one.life == life]
        # A caller who was told of spending knows: what anybody was told before its request began is on disk.
        durable = (
            max((one.began for one in in_this_life if one.spent_nanousd), default=0) if life in killed else sys.maxsize
        )
        for one in in_this_life:
            line = by_id.get(one.request_id)
            if line is None:
                lost += 1
                if one.spent_nanousd or one.ended < durable or one.status not in HIT_STATUSES | {Status.MISS}:
                    books.problems.append(f"life {life}: {one} is missing from the log")
            elif (one.status, one.spent_nanousd, one.saved_nanousd) != (
                line.status.value,
                line.spent.total_nanousd,
                line.saved.total_nanousd,
            ):
                books.problems.append(f"life {life}: {one} is another in the log: {line}")
    return {"told": len(books.told), "failed": books.failed, "lines": len(lines), "lost_to_kills": lost}


Sums = dict[tuple[str, str, str], tuple[int, ...]]
"""By tenant, model and status: the amounts of `AMOUNTS`."""
AMOUNTS = (
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "spent_input_nanousd",
    "spent_cached_input_nanousd",
    "spent_output_nanousd",
    "saved_nanousd",
    "overhead_nanousd",
)


def summed(rows: Iterable[dict[str, str | int]]) -> Sums:
    """Return the sums of an export's rows."""
    groups: dict[tuple[str, str, str], list[tuple[int, ...]]] = defaultdict(list)
    for row in rows:
        name = (str(row["tenant"]), str(row["model"]), str(row["status"]))
        groups[name].append(tuple(int(row[amount]) for amount in AMOUNTS))
    return {name: tuple(map(sum, zip(*amounts, strict=True))) for name, amounts in groups.items()}


def compare_export(books: Books, store: Path, hours: Iterable[LedgerHour]) -> int:
    """Compare what `semcache cost export` writes, in both formats, with the rollup, and return the count of lines."""
    rollup = summed(
        {amount: getattr(hour, amount) for amount in ("tenant", "model", "status", *AMOUNTS)} for hour in hours
    )
    lines = 0
    for file_format in ExportFormat:
        file = store.parent / f"log.{file_format}"
        with redirect_stdout(io.StringIO()) as said:
            export(file_format, output=file, store=store, json=True)
        with file.open(encoding="utf-8", newline="") as text:
            rows = list(csv.DictReader(text) if file_format is ExportFormat.CSV else map(json.loads, text))
        lines = len(rows)
        if json.loads(said.getvalue())["rows"] != lines:
            books.problems.append(f"the {file_format} export has {lines} lines, and says that it has another number")
        exported = summed(rows)
        for name in sorted(rollup.keys() | exported.keys()):
            if rollup.get(name) != exported.get(name):
                books.problems.append(
                    f"the {file_format} export has {exported.get(name)} of {name}, the rollup {rollup.get(name)}"
                )
    return lines


def start(folder: Path) -> Worker:
    return Worker("benchmarks.books", "--serve", str(folder / "store"), log=folder / "server.log")


def play(folder: Path, *, requests: int, lives: int, callers: int, seed: int) -> tuple[Books, dict[str, int]]:
    """Run all lives on one store, then compare. The last life and every third one end in order."""
    books = Books()
    killed = {life for life in range(lives - 1) if life % 3 != 2}
    for life in range(lives):
        with start(folder) as server:
            asyncio.run(
                live(
                    server,
                    books,
                    requests=requests // lives,
                    callers=callers,
                    life=life,
                    seed=seed,
                    kill=life in killed,
                )
            )
    with LedgerReader(StoreSettings(path=folder / "store", map_size_bytes=4 << 30)) as reader:
        lines = list(reader.records(0, 2**40))
        hours = reader.hours(0, 2**40)
    figures = compare(books, lines, lives, killed)
    if sorted(rolled_up(lines).values(), key=repr) != sorted(hours, key=repr):
        books.problems.append("the rollup isn't the sum of the log")
    figures["exported"] = compare_export(books, folder / "store", hours)
    figures["spent_nanousd"] = sum(hour.spent_nanousd for hour in hours)
    figures["saved_nanousd"] = sum(hour.saved_nanousd for hour in hours)
    with start(folder) as server, grpc.insecure_channel(server.ready["address"]) as channel:
        (budget,) = SemanticCacheServiceStub(channel).GetSavings(pb.GetSavingsRequest()).budgets
    if (budget.name, budget.spent_nanousd, budget.reserved_nanousd) != (BUDGET, figures["spent_nanousd"], 0):
        books.problems.append(f"the budget says {budget.spent_nanousd} spent, {budget.reserved_nanousd} reserved")
    return books, figures


async def serve(path: Path) -> None:
    """Run the server's process until it is ended."""
    import signal

    from semcache.errors import UpstreamError
    from semcache.model import UpstreamCall
    from semcache.observe.logs import configure_logging
    from semcache.server.app import Application
    from semcache.settings import load_settings
    from semcache.testing.embedder import HashingEmbedder
    from semcache.testing.upstream import Scripted, ScriptedUpstream, prompt_of

    def answer(call: UpstreamCall) -> Scripted:
        text = prompt_of(call.body)
        chance = random.Random(text)
        cached = chance.randrange(3_000)
        usage = Usage(cached + chance.randrange(1, 5_000), cached, chance.randrange(1, 2_000))
        if text.startswith("fails"):
            return Scripted(error=UpstreamError("a scripted failure", http_status=500))
        if text.startswith("breaks off"):
            return Scripted(pieces=("one ", "two ", "three"), break_after=2, usage=usage)
        return Scripted(f"An answer to {text}", usage=None if text.startswith("tells no") else usage)

    budget = {"name": BUDGET, "limit_usd": 1_000_000, "period": "month", "tenant": "*"}
    settings = load_settings(
        None,
        {
            "server": {"port": 0, "http": {"port": 0}, "grace_s": 5.0},
            "metrics": {"enabled": False},
            "store": {"path": path, "map_size_bytes": 4 << 30},
            "costs": {"budgets": [budget]},
            "log": {"level": "error"},
        },
    )
    configure_logging(settings.log)
    application = await Application.start(settings, embedder=HashingEmbedder(), upstream=ScriptedUpstream(answer))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    say({"address": application.address})
    await ended.wait()
    await application.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--lives", type=int, default=20)
    parser.add_argument("--callers", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(serve(arguments.serve))
        return
    started = time.monotonic()
    with scratch() as folder:
        books, figures = play(
            folder,
            requests=arguments.requests,
            lives=arguments.lives,
            callers=arguments.callers,
            seed=arguments.seed,
        )
    print(f"{arguments.requests:,} requests, {arguments.lives} lives of a server, {time.monotonic() - started:.0f} s")
    for name, value in figures.items():
        print(f"{name:<16}{value:>22,}")
    print("\n".join(books.problems[:20]) or "told, log, rollup, export, counters and budget agree to the nanodollar")
    if arguments.json:
        print(json.dumps({**figures, "problems": len(books.problems)}))
    if books.problems:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
