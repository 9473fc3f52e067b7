"""`semcache demo`: plays prompts through a server of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from semcache.cli.options import Json


def demo(
    *,
    prompts: Annotated[
        Path | None, typer.Option(help="A file of your own prompts: JSONL, or one prompt on each line.")
    ] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="Play only this many prompts.")] = None,
    callers: Annotated[int, typer.Option(min=1, max=256, help="Requests under way at once.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the scripted provider's latencies and answers.")] = 1,
    latency_scale: Annotated[
        float, typer.Option(min=0.0, help="The provider's latency; 1 is that of a real provider.")
    ] = 0.5,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Play a few hundred prompts through a real server with a scripted provider, and show the results."""
    from semcache.demo.run import DemoOptions, run

    options = DemoOptions(
        keep=keep,
        prompts=prompts,
        requests=requests,
        callers=callers,
        seed=seed,
        latency_scale=latency_scale,
        json=json,
    )
    asyncio.run(run(options))
