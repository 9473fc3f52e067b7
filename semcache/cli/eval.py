"""`semcache eval`."""

from __future__ import annotations

import asyncio
import json as json_format
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from semcache.cli.options import ApiKey, Ca, Json
from semcache.client import Client
from semcache.errors import InvalidRequestError
from semcache.evaluation.labels import Pair, load_pairs
from semcache.evaluation.playing import Played, play_pairs
from semcache.evaluation.scoring import Rate, Score, score
from semcache.observe.logs import configure_logging
from semcache.server.app import Application
from semcache.settings import (
    AuthSettings,
    CostSettings,
    KeySettings,
    LogSettings,
    MetricsSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    UpstreamSettings,
    load_settings,
)


def evaluate(
    files: Annotated[list[Path], typer.Argument(help="JSONL: labelled pairs, conversations, clusters or turns.")],
    threshold: Annotated[
        list[float] | None, typer.Option("--threshold", "-t", help="A setting to try; may be given again.")
    ] = None,
    shared: Annotated[bool, typer.Option("--shared", help="All pairs of a file in one namespace.")] = False,
    show: Annotated[int, typer.Option(min=0, help="Traps that were served, to be shown with their texts.")] = 10,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first pairs of each file.")] = None,
    seed: Annotated[int, typer.Option(help="Of the pairs drawn from clusters.")] = 1,
    address: Annotated[
        str | None, typer.Option("--address", "-a", help="A running server; without it one of its own, new and empty.")
    ] = None,
    api_key: ApiKey = None,
    ca: Ca = None,
    json: Json = False,
) -> None:
    """Play labelled pairs through a real server: hits served of hits, traps served of traps, by kind."""
    configure_logging(LogSettings(level="error"))
    loaded = {str(path): load_pairs(path, seed=seed)[:limit] for path in files}
    if any(not -1.0 <= value <= 1.0 for value in threshold or ()):
        raise InvalidRequestError("A threshold is a cosine, from -1 to 1.", reason="INVALID_THRESHOLD")
    wanted: list[float | None] = [*sorted(set(threshold or ()))] or [None]
    results = asyncio.run(_evaluate(loaded, wanted, address=address, api_key=api_key, ca=ca, shared=shared))
    console = Console()
    told = []
    for name, by_threshold in results.items():
        scores = [score(effective, [(one.pair, one.served) for one in played]) for effective, played in by_threshold]
        told.append({"file": name, "scores": [_as_json(item) for item in scores]})
        if not json:
            console.print(_table(name, scores))
            for effective, played in by_threshold:
                _print_wrong(console, effective, played, show)
    if json:
        typer.echo(json_format.dumps({"files": told}, ensure_ascii=False))


async def _evaluate(
    loaded: dict[str, tuple[Pair, ...]],
    wanted: Sequence[float | None],
    *,
    address: str | None,
    api_key: str | None,
    ca: Path | None,
    shared: bool,
) -> dict[str, list[tuple[float, list[Played]]]]:
    total = 2 * len(wanted) * sum(len(pairs) for pairs in loaded.values())
    columns = (TextColumn("Playing {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    results: dict[str, list[tuple[float, list[Played]]]] = {}
    async with _server(address, min((t for t in wanted if t is not None), default=None)) as (where, shipped):
        console = Console(stderr=True)
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            async with Client(where, api_key=api_key, root_certificate=ca) as client:
                task = progress.add_task("", total=total)
                for name, pairs in loaded.items():
                    progress.update(task, description=Path(name).name)
                    results[name] = []
                    for threshold in wanted:
                        played = await play_pairs(
                            client,
                            pairs,
                            threshold,
                            shared=shared,
                            on_progress=lambda count: progress.advance(task, count),
                        )
                        # A running server raises what is below its own threshold: what counted is what is told.
                        counted = (one.threshold for one in played if one.threshold is not None)
                        results[name].append((next(counted, shipped if threshold is None else threshold), played))
    return results


@asynccontextmanager
async def _server(address: str | None, threshold: float | None) -> AsyncIterator[tuple[str, float]]:
    """Address and threshold of the server that is asked: a running one, or a new one with an empty store."""
    settings = load_settings()
    if address is not None:
        yield address, settings.decision.threshold
        return
    lowest = settings.decision.threshold if threshold is None else threshold
    with tempfile.TemporaryDirectory(prefix="semcache-eval-") as folder:
        application = await Application.start(_own(settings, Path(folder), threshold))
        try:
            yield application.address, lowest
        finally:
            await application.stop(1.0)


def _own(settings: Settings, folder: Path, threshold: float | None) -> Settings:
    """The environment's limits, devices and guards; never its store, ports, keys or upstreams, nor against a flag."""
    decision = settings.decision
    if threshold is not None:
        decision = decision.model_copy(update={"threshold": threshold, "overrides": ()})
    return settings.model_copy(
        update={
            "server": ServerSettings(port=0),
            "auth": AuthSettings(),
            "keys": KeySettings(),
            "upstream": UpstreamSettings(),
            "store": StoreSettings(path=folder),
            "costs": CostSettings(),
            "metrics": MetricsSettings(enabled=False),
            "decision": decision,
        }
    )


def _as_json(item: Score) -> dict[str, object]:
    def rate(value: Rate) -> dict[str, object]:
        return {**asdict(value), "share": value.share, "interval_95": value.interval}

    return {
        "threshold": item.threshold,
        "hits": rate(item.hits),
        "traps": rate(item.traps),
        "kinds": [{"kind": kind.kind, "same": kind.same, **rate(kind.served)} for kind in item.kinds],
    }


def _table(name: str, scores: Sequence[Score]) -> Table:
    table = Table("threshold", "pairs", "served", "of", "%", "95 % interval", title=name, title_justify="left")
    table.columns[1].overflow = "fold"  # A kind cut short names nothing.
    for column in table.columns[2:5]:
        column.justify = "right"
    for item in scores:
        _row(table, f"{item.threshold:g}", "hits: one answer", item.hits, "green")
        _row(table, "", "traps: different answers", item.traps, "red")
        for kind in item.kinds:
            _row(table, "", f"  {'hit' if kind.same else 'trap'}: {kind.kind}", kind.served, "dim")
        table.add_section()
    return table


def _row(table: Table, threshold: str, what: str, rate: Rate, style: str) -> None:
    share, interval = rate.share, rate.interval
    table.add_row(
        threshold,
        what,
        f"{rate.count:,}",
        f"{rate.of:,}",
        "–" if share is None else f"{100 * share:.1f}",
        "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}",
        style=style,
    )


def _print_wrong(console: Console, threshold: float, played: Sequence[Played], show: int) -> None:
    wrong = [one for one in played if one.served and not one.pair.same]
    for one in wrong[:show]:
        stored, asked = one.pair.stored[-1]["content"], one.pair.asked[-1]["content"]
        similarity = "exact" if one.similarity is None else f"{one.similarity:.4f}"
        console.print(f"served at {threshold:g} ({one.pair.kind}, {similarity}):", style="red", highlight=False)
        console.print(f"  asked   {asked[:160]}\n  stored  {stored[:160]}", highlight=False, markup=False)
    if len(wrong) > show:
        console.print(f"… and {len(wrong) - show} more traps at {threshold:g}")
