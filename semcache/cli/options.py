"""Options of several commands, the client that they configure, and a progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from semcache.client import SyncClient

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="SEMCACHE_CONFIG", help="The settings' TOML file; without it, defaults."),
]
Address = Annotated[
    str, typer.Option("--address", "-a", envvar="SEMCACHE_ADDRESS", help="Host and port of the server.")
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="SEMCACHE_API_KEY", help="The API key; the environment variable keeps it out of sight."
    ),
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", envvar="SEMCACHE_CA", help="PEM file of the authority to trust; turns TLS on."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of the output.")]

TIMEOUT_S = 30.0
"""Seconds for a call of a command: a person waits for it."""


def connect(address: str, api_key: str | None, ca: Path | None) -> SyncClient:
    """Return a client for one command."""
    return SyncClient(address, api_key=api_key, root_certificate=ca, timeout_s=TIMEOUT_S)


@contextmanager
def progress_bar(activity: str, total: int) -> Iterator[tuple[Progress, TaskID]]:
    """Show a progress bar on standard error if that is a terminal; give the bar and its task."""
    columns = (TextColumn(activity + " {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress, progress.add_task("", total=total)
