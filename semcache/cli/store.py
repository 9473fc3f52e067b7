"""The commands `semcache store …`: encryption of a store while no server has it open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from semcache import maintenance
from semcache.cli.options import Config
from semcache.settings import load_settings

app = typer.Typer(
    name="store",
    help="Encrypt the store, change its keys, erase a tenant. No server may have the store open.",
    no_args_is_help=True,
)


@contextmanager
def _progress(activity: str) -> Iterator[maintenance.Progress]:
    with Console(stderr=True).status(f"{activity} …") as status:
        yield lambda name: status.update(f"{activity} {name} …")


@app.command()
def encrypt(
    *,
    config: Config = None,
    new_keys: Annotated[bool, typer.Option("--new-keys", help="Give every tenant a new data key.")] = False,
) -> None:
    """Encrypt every row under the current key of its tenant, in a new data file; delete the old file."""
    settings = load_settings(config).store
    with _progress("Encrypting") as progress:
        count = maintenance.encrypt(settings, progress, new_keys=new_keys)
    typer.echo(f"{count} rows are encrypted; none is in clear.")
    for path in maintenance.files_in_clear(settings.path):
        typer.echo(f"{path} was kept by a repair and may hold rows in clear: delete it.")


@app.command("master-key")
def master_key(*, config: Config = None) -> None:
    """Encrypt the key file under the master key of the settings, which was among the previous keys until now."""
    changed = maintenance.change_master_key(load_settings(config).store)
    typer.echo(
        "The key file is under the new master key. Every copy under the old one still opens with the old one."
        if changed
        else "The key file is under this master key already."
    )


@app.command()
def erase(
    tenant: Annotated[str, typer.Argument(help="The tenant's name.")],
    *,
    config: Config = None,
    with_sums: Annotated[
        bool, typer.Option("--with-sums", help="Also delete the hourly sums of what it used and cost.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Destroy a tenant's keys and delete its rows. Nothing brings them back."""
    settings = load_settings(config).store
    if not yes:
        typer.confirm(f"Erase everything of the tenant {tenant!r} in {settings.path}?", abort=True)
    with _progress("Erasing") as progress:
        keys = maintenance.erase(settings, tenant, progress, with_sums=with_sums)
    typer.echo(f"The tenant {tenant!r} is erased: {keys} keys destroyed.")
