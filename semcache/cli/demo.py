"""`semcache demo`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from semcache.cli.options import Json


def demo(
    prompts: Annotated[Path | None, typer.Option(help="Play your own: JSONL, or one prompt a line.")] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="Play only so many.")] = None,
    callers: Annotated[int, typer.Option(min=1, max=256, help="How many send at once.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the scripted provider's latencies and answers.")] = 1,
    latency_scale: Annotated[float, typer.Option(min=0.0, help="1 is a real provider's pace.")] = 0.5,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Play a few hundred prompts through a real server and a scripted provider; show what happened."""
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
