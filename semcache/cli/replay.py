"""`semcache replay`."""

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
from semcache.client import Client
from semcache.demo.stack import running_provider, running_server
from semcache.errors import InvalidRequestError
from semcache.evaluation.replay.outcome import Figures, figures_of
from semcache.evaluation.replay.replaying import play_stream
from semcache.evaluation.replay.streams import StreamedRequest, label_name, load_stream
from semcache.evaluation.tune.specs import Spec, read_specs
from semcache.observe.logs import configure_logging
from semcache.server.clock import SystemClock
from semcache.settings import LogSettings, load_settings

_FASTEST = "max"


def replay(
    file: Annotated[Path, typer.Argument(help="JSONL or CSV of prompts, or one prompt a line.")],
    model: Annotated[str, typer.Option("--model", "-m", help="For lines that name none.")] = "gpt-4o-mini",
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", help="A setting to compare, as in strict:threshold=0.95,guards=none; again for more."),
    ] = None,
    speed: Annotated[
        str, typer.Option("--speed", help="1: as the lines' `at` says; 60: sixty times as fast; max.")
    ] = _FASTEST,
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
    """Play a stream of prompts through a server: hits by tier, wrong ones where labels tell, latency, dollars."""
    configure_logging(LogSettings(level="warning"))
    base = load_settings().decision
    specs = read_specs(policy or (), base)
    if specs and address is not None:
        raise InvalidRequestError(
            "A running server decides by its own policy, and --policy names others.",
            hint="Leave --address out: each policy gets a new server.",
        )
    pace = _read_speed(speed)
    requests = load_stream(file, model=model)[:limit]
    if pace is not None and requests[0].at_s is None:
        raise InvalidRequestError(
            f"The lines of {file} don't say when they came, and --speed {speed} asks for it.",
            hint="Give each an `at`, in seconds or as ISO 8601, or leave --speed out.",
        )

    async def run() -> list[Figures]:
        told = []
        for spec in specs or (Spec("", base),):
            async with (
                _server(address, requests, spec, seed=seed, latency_scale=latency_scale) as where,
                Client(where, api_key=api_key, root_certificate=ca) as client,
            ):
                told.append(await _play(client, requests, callers, pace, spec.name))
        return told

    told = asyncio.run(run())
    judged_by = label_name(file)
    if json:
        typer.echo(json_format.dumps(as_json([spec.name for spec in specs], told, judged_by), ensure_ascii=False))
    else:
        Console().print(replay_table([spec.name for spec in specs], told, judged_by))


async def _play(
    client: Client, requests: Sequence[StreamedRequest], callers: int, speed: float | None, name: str
) -> Figures:
    clock = SystemClock()
    with progress_bar("Playing", len(requests)) as (progress, task):
        progress.update(task, description=name)
        started_s = clock.monotonic()
        answered = await play_stream(
            client,
            requests,
            callers=callers,
            speed=speed,
            clock=clock,
            on_answered=lambda: progress.advance(task),
        )
        return figures_of(answered, clock.monotonic() - started_s)


def _read_speed(text: str) -> float | None:
    """How many times as fast as the stream came; None: as fast as can be."""
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
    address: str | None, requests: Sequence[StreamedRequest], spec: Spec, *, seed: int, latency_scale: float
) -> AsyncIterator[str]:
    if address is not None:
        yield address
        return
    # A provider of its own as well: it remembers prompts, which makes later ones cheaper.
    async with AsyncExitStack() as parts:
        base_url = await parts.enter_async_context(running_provider(seed=seed, latency_scale=latency_scale))
        models = {request.model for request in requests}
        stack = await parts.enter_async_context(running_server(base_url, models, spec.decision))
        yield stack.application.address
