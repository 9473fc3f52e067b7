"""Options that several commands take, and the connection that they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
