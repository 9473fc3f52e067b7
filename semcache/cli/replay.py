"""`semcache replay`: plays a workload through a server."""

from __future__ import annotations

import asyncio
import json as json_format
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from semcache.cli.options import ApiKey, Ca, Json, progress_bar
from semcache.cli.replay_table import as_json, replay_table
from semcache.cli.skipped import SkippedRecords
from semcache.client import Client
from semcache.demo.stack import running_provider, running_server
from semcache.errors import InvalidRequestError, SemcacheError
from semcache.evaluation.replay.playing_workload import play_workload
from semcache.evaluation.replay.summary import ReplaySummary, summarize_replay
from semcache.evaluation.replay.workload import WorkloadRequest, label_name, load_workload
from semcache.evaluation.tune.specs import Spec, read_specs
from semcache.observe.logs import configure_logging
from semcache.server.clock import SystemClock
from semcache.settings import LogSettings, load_settings

_FASTEST = "max"


def replay(
    *,
    file: Annotated[Path, typer.Argument(help="Prompts as JSON, JSONL, CSV or lines, or a log's export.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="The model alias of lines that name none.")
    ] = "gpt-4o-mini",
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy", help="A setting to compare, such as strict:threshold=0.95,guards=none; may be repeated."
        ),
    ] = None,
    speed: Annotated[
        str, typer.Option("--speed", help="1 keeps the times in `at`, 60 is sixty times as fast, max doesn't wait.")
    ] = _FASTEST,
    callers: Annotated[int, typer.Option(min=1, max=1024, help="Requests under way at once.")] = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Play only the first lines.")] = None,
    latency_scale: Annotated[
        float, typer.Option(min=0.0, help="The scripted provider's latency; 1 is that of a real provider.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the scripted provider.")] = 1,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            "-a",
            help="A running server, whose upstream is called and paid; without it, a new server and provider.",
        ),
    ] = None,
    api_key: ApiKey = None,
    ca: Ca = None,
    json: Json = False,
) -> None:
    """Play a file of prompts through a server, and show hits by tier, wrong hits, latency and dollars.

    \b
    The file is JSON, JSONL, CSV, or text with one prompt on each line.
    A record's prompt stands in:
      prompt, text, q, question, query, input  a text, or a list of messages
      messages, conversation, conversations    messages, up to the last question
      instruction, input                       Alpaca
      custom_id, body                          an OpenAI batch
    Logs of LiteLLM and Langfuse are read too. Beside the prompt may stand:
      model, namespace, task_type, template    as in the API
      at, startTime, timestamp, created_at     seconds to nanoseconds, or ISO 8601
      answer, cluster, label                   what requests with one answer share
    A record that asks nothing is reported and left out.
    If every request fails, the exit code is 1.
    """  # noqa: D301 - typer keeps the lines after a backspace
    configure_logging(LogSettings(level="warning"))
    base = load_settings().decision
    specs = read_specs(policy or (), base)
    _check_address(address, specs)
    skipped = SkippedRecords()
    requests = load_workload(file, model=model, on_skipped=skipped.add)[:limit]
    skipped.finish()
    pace = _read_speed(speed)
    _check_times(file, requests, pace)
    judged_by, names = label_name(file), [spec.name for spec in specs]

    async def run() -> list[ReplaySummary]:
        summaries = []
        for spec in specs or (Spec("", base),):
            async with (
                _server(address, requests, spec, seed=seed, latency_scale=latency_scale) as where,
                Client(where, api_key=api_key, root_certificate=ca) as client,
            ):
                summaries.append(await _play(client, requests, callers, pace, spec.name))
        return summaries

    summaries = asyncio.run(run())
    if json:
        typer.echo(json_format.dumps(as_json(names, summaries, judged_by, skipped.count), ensure_ascii=False))
    else:
        Console().print(replay_table(names, summaries, judged_by))
    _check_answers(summaries)


async def _play(
    client: Client, requests: Sequence[WorkloadRequest], callers: int, speed: float | None, name: str
) -> ReplaySummary:
    clock = SystemClock()
    with progress_bar("Playing", len(requests)) as (progress, task):
        progress.update(task, description=name)
        started_s = clock.monotonic()
        answered = await play_workload(
            client,
            requests,
            callers=callers,
            speed=speed,
            clock=clock,
            on_answered=lambda: progress.advance(task),
        )
        return summarize_replay(answered, clock.monotonic() - started_s)


def _check_answers(summaries: Sequence[ReplaySummary]) -> None:
    """Raise if a replay has no answers, so that a script sees that its numbers mean nothing."""
    for summary in summaries:
        if summary.all_failed:
            raise SemcacheError(
                f"All {summary.requests:,} requests failed. The first failure: {summary.first_failure}",
                reason="ALL_FAILED",
                hint="Mend its cause, and play the file again.",
            )


def _check_address(address: str | None, specs: Sequence[Spec]) -> None:
    if specs and address is not None:
        raise InvalidRequestError(
            "A running server decides by its own policy, and --policy names others.",
            hint="Leave --address out: each policy then gets a new server.",
        )


def _check_times(file: Path, requests: Sequence[WorkloadRequest], pace: float | None) -> None:
    if pace is not None and requests[0].at_s is None:
        raise InvalidRequestError(
            f"The lines of {file} don't say when they came, and --speed {pace:g} needs those times.",
            hint="Give each record an `at`, in seconds or as ISO 8601, or leave --speed out.",
        )


def _read_speed(text: str) -> float | None:
    """Return the multiple of the workload's own pace; None for as fast as possible."""
    if text == _FASTEST:
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0.0 < speed < math.inf:
        raise InvalidRequestError(
            f"--speed is {text[:40]!r}, and it is max or a number above 0.", hint="60 plays an hour in a minute."
        )
    return speed


@asynccontextmanager
async def _server(
    address: str | None, requests: Sequence[WorkloadRequest], spec: Spec, *, seed: int, latency_scale: float
) -> AsyncIterator[str]:
    if address is not None:
        yield address
        return
    # Each policy gets a new provider too: a provider remembers prompts, which makes repeated ones cheaper.
    async with AsyncExitStack() as parts:
        base_url = await parts.enter_async_context(running_provider(seed=seed, latency_scale=latency_scale))
        models = {request.model for request in requests}
        stack = await parts.enter_async_context(running_server(base_url, models, spec.decision))
        yield stack.application.address
