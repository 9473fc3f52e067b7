"""Runs the demo: starts its parts, plays the prompts with a progress bar, prints the report, stops the parts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from semcache.demo.callers import play
from semcache.demo.correctness import HITS, PlayedRequest
from semcache.demo.prompts import DemoRequest, load_prompts
from semcache.demo.report import DemoReport, Server, report
from semcache.demo.stack import Stack, running_provider, running_server
from semcache.demo.table import dollars, keep_notice, print_report
from semcache.errors import InvalidRequestError
from semcache.observe.logs import configure_logging
from semcache.server.clock import SystemClock
from semcache.settings import LogSettings
from semcache.v1 import semcache_pb2 as pb
from semcache.v1 import semcache_pb2_grpc as pb_grpc


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of the command line.

    Attributes:
        keep: whether to keep the server running after the report, until Ctrl-C.
        prompts: the user's file of prompts; None for the package's.
        requests: the number of prompts to play, from the first on; None for all.
        callers: the number of requests under way at once.
        seed: of the provider's latencies and answers.
        latency_scale: the provider's latency; 1 is that of a real provider. The default keeps the demo under a minute.
        json: whether to print one JSON object instead of tables.
    """

    keep: bool = False
    prompts: Path | None = None
    requests: int | None = None
    callers: int = 8
    seed: int = 1
    latency_scale: float = 0.5
    json: bool = False


async def run(options: DemoOptions) -> DemoReport:
    """Run the demo and return its report. Progress goes to standard error, tables or JSON to standard output.

    Raises:
        InvalidRequestError: the file of prompts can't be used, or an option is out of range.
        SemcacheError: a part can't start.
    """
    requests = _chosen(options)
    configure_logging(LogSettings(level="warning"))
    progress_console, console = Console(stderr=True), Console()
    with _ended_by_sigterm():
        async with AsyncExitStack() as parts:
            base_url = await parts.enter_async_context(
                running_provider(seed=options.seed, latency_scale=options.latency_scale)
            )
            with progress_console.status("Starting the server: embedding model, index, store"):
                models = {request.model for request in requests}
                stack = await parts.enter_async_context(running_server(base_url, models))
            result = await _play(stack, requests, options, progress_console)
            if options.json:
                print(json.dumps(result.as_json(), ensure_ascii=False), flush=True)  # noqa: T201 - the command's output
            else:
                print_report(result, console)
            if options.keep:
                notice = progress_console if options.json else console
                notice.print(keep_notice(stack.application.address, stack.metrics_url))
                await _until_interrupted()
    return result


def _chosen(options: DemoOptions) -> Sequence[DemoRequest]:
    for name, value in (("requests", options.requests), ("callers", options.callers)):
        if value is not None and value < 1:
            raise InvalidRequestError(f"{name} must be at least 1, not {value}.", reason="BAD_OPTION")
    if not 0 <= options.latency_scale <= 10:
        raise InvalidRequestError(f"latency_scale must be 0 to 10, not {options.latency_scale}.", reason="BAD_OPTION")
    return load_prompts(options.prompts)[: options.requests]


async def _play(stack: Stack, requests: Sequence[DemoRequest], options: DemoOptions, console: Console) -> DemoReport:
    clock = SystemClock()
    async with grpc.aio.insecure_channel(stack.application.address) as channel:
        stub: pb_grpc.SemanticCacheServiceAsyncStub = pb_grpc.SemanticCacheServiceStub(channel)
        columns = (TextColumn("Playing"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
            task = progress.add_task("", total=len(requests))
            hits = saved_nanousd = 0

            def show(played: PlayedRequest) -> None:
                nonlocal hits, saved_nanousd
                hits += played.status in HITS
                saved_nanousd += played.saved_nanousd
                words = f"{hits} from the cache, {dollars(saved_nanousd)} saved"
                progress.update(task, advance=1, description=words)

            started_s = clock.monotonic()
            played = await play(stub, requests, callers=options.callers, clock=clock, on_played=show)
            wall_s = clock.monotonic() - started_s
        stats = await stub.GetStats(pb.GetStatsRequest())
    return report(
        played,
        wall_s=wall_s,
        callers=options.callers,
        latency_scale=options.latency_scale,
        server=Server(
            address=stack.application.address,
            metrics_url=stack.metrics_url,
            requests=stats.requests.total,
            spent_nanousd=stats.spent_nanousd,
            saved_nanousd=stats.saved_nanousd,
            entries=stats.entries,
            embedder=f"{stats.embedder.model} ({stats.embedder.backend}, {stats.embedder.device}, "
            f"{stats.embedder.precision})",
            threshold=stack.settings.decision.threshold,
        ),
    )


async def _until_interrupted() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that the provider and the temporary store are removed too."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        yield
    finally:
        with suppress(RuntimeError):  # The loop may be closing already.
            loop.remove_signal_handler(signal.SIGTERM)
