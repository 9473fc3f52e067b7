"""`semcache replay`."""

from __future__ import annotations

import asyncio
import json as json_format
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from semcache.cli.options import ApiKey, Ca, Json
from semcache.client import Client, ClientError
from semcache.demo.stack import running_provider, running_server
from semcache.evaluation.streams import StreamedRequest, load_stream
from semcache.observe.logs import configure_logging
from semcache.settings import LogSettings

_USD = 1_000_000_000
_HITS = ("exact_hit", "semantic_hit", "coalesced")


@dataclass(frozen=True, slots=True)
class _Answered:
    status: str
    latency_s: float
    spent_nanousd: int = 0
    saved_nanousd: int = 0
    error: str = ""


def replay(
    file: Annotated[Path, typer.Argument(help="JSONL of prompts or messages, or one prompt a line.")],
    model: Annotated[str, typer.Option("--model", "-m", help="For lines that name none.")] = "gpt-4o-mini",
    callers: Annotated[int, typer.Option(min=1, max=1024, help="How many send at once.")] = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first lines.")] = None,
    latency_scale: Annotated[float, typer.Option(min=0.0, help="Of the scripted provider; 1 is a real one's.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the scripted provider.")] = 1,
    address: Annotated[
        str | None,
        typer.Option(
            "--address", "-a", help="A running server, whose upstream is asked and paid; without it a new one."
        ),
    ] = None,
    api_key: ApiKey = None,
    ca: Ca = None,
    json: Json = False,
) -> None:
    """Play a stream of prompts through a server: hits by tier, latency, dollars."""
    configure_logging(LogSettings(level="warning"))
    requests = load_stream(file, model=model)[:limit]

    async def run() -> tuple[list[_Answered], float]:
        async with (
            _server(address, requests, seed=seed, latency_scale=latency_scale) as where,
            Client(where, api_key=api_key, root_certificate=ca) as client,
        ):
            started_s = time.monotonic()
            answered = await _play(client, requests, callers)
            return answered, time.monotonic() - started_s

    answered, wall_s = asyncio.run(run())
    summary = _summary(answered, wall_s)
    if json:
        typer.echo(json_format.dumps(summary))
    else:
        Console().print(_table(summary))


@asynccontextmanager
async def _server(
    address: str | None, requests: Sequence[StreamedRequest], *, seed: int, latency_scale: float
) -> AsyncIterator[str]:
    if address is not None:
        yield address
        return
    async with AsyncExitStack() as parts:
        base_url = await parts.enter_async_context(running_provider(seed=seed, latency_scale=latency_scale))
        stack = await parts.enter_async_context(running_server(base_url, {request.model for request in requests}))
        yield stack.application.address


async def _play(client: Client, requests: Sequence[StreamedRequest], callers: int) -> list[_Answered]:
    answered: list[_Answered] = []
    waiting = iter(requests)
    columns = (TextColumn("Playing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(requests))

        async def call_in_turn(shared: Iterator[StreamedRequest]) -> None:
            for request in shared:
                answered.append(await _call(client, request))
                progress.advance(task)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(callers):
                    group.create_task(call_in_turn(waiting))
        except ExceptionGroup as failures:
            # Where nobody answers all callers fail alike: the first one says it.
            raise failures.exceptions[0] from failures
    return answered


async def _call(client: Client, request: StreamedRequest) -> _Answered:
    started_s = time.monotonic()
    try:
        answer = await client.complete(openai_json=request.body, namespace=request.namespace)
    except ClientError as error:
        if error.reason in {"UNREACHABLE", "UNAUTHENTICATED"}:
            raise
        return _Answered("error", time.monotonic() - started_s, error=error.reason)
    outcome = answer.outcome
    return _Answered(
        answer.status.value,
        time.monotonic() - started_s,
        outcome.cost.total_nanousd,
        outcome.saved.total_nanousd,
    )


def _summary(answered: Sequence[_Answered], wall_s: float) -> dict[str, object]:
    latencies: dict[str, list[float]] = defaultdict(list)
    for one in answered:
        latencies[one.status].append(one.latency_s)
    hits = sum(len(latencies[status]) for status in _HITS)
    cacheable = hits + len(latencies["miss"])
    spent, saved = sum(one.spent_nanousd for one in answered), sum(one.saved_nanousd for one in answered)
    return {
        "requests": len(answered),
        "wall_s": round(wall_s, 3),
        "statuses": {
            status: {
                "requests": len(values),
                "p50_ms": _percentile_ms(values, 50),
                "p99_ms": _percentile_ms(values, 99),
            }
            for status, values in sorted(latencies.items())
            if values
        },
        "errors": dict(Counter(one.error for one in answered if one.error)),
        "hit_ratio": hits / cacheable if cacheable else None,
        "spent_usd": spent / _USD,
        "saved_usd": saved / _USD,
        "savings_percent": 100 * saved / (saved + spent) if saved + spent else None,
    }


def _percentile_ms(values: Sequence[float], percent: int) -> float:
    """The nearest rank, milliseconds."""
    rank = max(1, -(-len(values) * percent // 100))
    return round(sorted(values)[rank - 1] * 1000, 2)


def _table(summary: dict[str, object]) -> Table:
    table = Table("status", "requests", "p50 ms", "p99 ms", title="Replayed", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    statuses = summary["statuses"]
    assert isinstance(statuses, dict)
    for status, row in statuses.items():
        table.add_row(status.replace("_", " "), f"{row['requests']:,}", f"{row['p50_ms']:,}", f"{row['p99_ms']:,}")
    errors = summary["errors"]
    assert isinstance(errors, dict)
    for reason, count in errors.items():
        table.add_row(f"  {reason}", f"{count:,}", style="red")
    table.add_section()
    ratio, percent = summary["hit_ratio"], summary["savings_percent"]
    table.add_row("hit ratio", "–" if ratio is None else f"{ratio:.1%}")
    table.add_row("spent", f"${summary['spent_usd']:.6f}")
    table.add_row("saved", f"${summary['saved_usd']:.6f}")
    table.add_row("saved %", "–" if percent is None else f"{percent:.1f}")
    table.caption = f"{summary['requests']:,} requests in {summary['wall_s']} s"
    return table
