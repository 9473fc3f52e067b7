"""Options that several commands take, the connection that they stand for, and the bar that shows progress."""

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
    Path | None, typer.Option("--config", "-c", envvar="SEMCACHE_CONFIG", help="The TOML file; without it, defaults.")
]
Address = Annotated[str, typer.Option("--address", "-a", envvar="SEMCACHE_ADDRESS", help="Host and port of a server.")]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", envvar="SEMCACHE_API_KEY", help="Shown with every call; best in the variable."),
]
Ca = Annotated[
    Path | None, typer.Option("--ca", envvar="SEMCACHE_CA", help="PEM file of the authority to trust; implies TLS.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object as the last line of standard output.")]

TIMEOUT_S = 30.0


def connect(address: str, api_key: str | None, ca: Path | None) -> SyncClient:
    """A client for one command."""
    return SyncClient(address, api_key=api_key, root_certificate=ca, timeout_s=TIMEOUT_S)


@contextmanager
def progress_bar(doing: str, total: int) -> Iterator[tuple[Progress, TaskID]]:
    """A bar on standard error, where that is a terminal."""
    columns = (TextColumn(doing + " {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress, progress.add_task("", total=total)
