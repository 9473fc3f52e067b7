"""`semcache check`: checks the store, and repairs it."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from semcache.cli.options import Config, Json
from semcache.settings import load_settings
from semcache.store import checking

_SHOWN = 20
"""Problems printed; the rest are counted."""


def check(
    *,
    config: Config = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what is wrong; no server may have the store open.")
    ] = False,
    json: Json = False,
) -> None:
    """Check every row of the store against the others. Exit code 1 when something is wrong."""
    store = load_settings(config).store
    console = Console(stderr=True)
    with console.status("Checking …") as status:
        run = checking.repair if repair else checking.check
        report = run(store, lambda name: status.update(f"Checking {name} …"))
    if json:
        typer.echo(json_format.dumps({**asdict(report), "clean": report.clean}, default=str))
    else:
        for problem in report.problems[:_SHOWN]:
            typer.echo(f"{problem.kind}: {problem.where}")
        if report.problem_count > _SHOWN:
            typer.echo(f"… and {report.problem_count - _SHOWN} more")
        typer.echo(", ".join(f"{count} {name}" for name, count in report.rows.items()))
        typer.echo(_verdict(report))
    if not report.clean and not repair:
        raise typer.Exit(1)


def _verdict(report: checking.CheckReport) -> str:
    if report.clean:
        return "The store is clean."
    if report.kept:
        return (
            f"{report.problem_count} problems. What could be read is in a new file, with {report.repaired} rows "
            f"repaired; the old file is kept as {report.kept}."
        )
    if report.repaired:
        return f"{report.problem_count} problems, {report.repaired} rows repaired."
    return f"{report.problem_count} problems; `semcache check --repair` repairs them while no server runs."
