"""`semcache eval`: plays labelled pairs through a real server."""

from __future__ import annotations

import asyncio
import json as json_format
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from semcache.cli.eval_tables import TriedSetting, as_json, print_tables
from semcache.cli.options import ApiKey, Ca, Json, progress_bar
from semcache.cli.own_server import own_server
from semcache.cli.skipped import SkippedRecords
from semcache.client import Client
from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.files import load_pairs
from semcache.evaluation.labels.pairs import LabelledPair
from semcache.evaluation.replay.deciding_offline import replay_decision
from semcache.evaluation.replay.playing_pairs import play_pairs
from semcache.evaluation.tune.specs import Spec, check_threshold, read_specs
from semcache.observe.logs import configure_logging
from semcache.settings import DecisionSettings, LogSettings, Settings, load_settings

Loaded = dict[str, tuple[LabelledPair, ...]]


def evaluate(
    *,
    files: Annotated[
        list[Path],
        typer.Argument(
            help="JSON, JSONL or CSV files of labelled pairs, conversations, clusters, intents or turns; or a folder."
        ),
    ],
    threshold: Annotated[
        list[float] | None, typer.Option("--threshold", "-t", help="A threshold to try; may be repeated.")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            help="A setting to compare, such as strict:threshold=0.95,guards=numbers+polarity; may be repeated.",
        ),
    ] = None,
    shared: Annotated[bool, typer.Option("--shared", help="Put all pairs of a file into one namespace.")] = False,
    show: Annotated[int, typer.Option(min=0, help="How many served traps to show with their texts.")] = 10,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first pairs of each file.")] = None,
    seed: Annotated[int, typer.Option(help="Seed for drawing pairs from clusters and intents.")] = 1,
    address: Annotated[
        str | None, typer.Option("--address", "-a", help="A running server; without it, a new server with no entries.")
    ] = None,
    api_key: ApiKey = None,
    ca: Ca = None,
    json: Json = False,
) -> None:
    """Play labelled pairs through a real server, and count the served hits and the served traps by kind.

    \b
    Files are JSON, JSONL or CSV. The first record tells what all records are:
      a, b, same             two prompts or lists of messages, and whether one
                             answer serves both; question1, sentence1 and
                             is_duplicate, label are other names
      cluster, text          texts of one cluster share an answer
      intent, text           texts of one intent needn't share an answer
      history, raw, rewrite  turns of conversations
    A record with an empty side is reported and left out.
    """  # noqa: D301 - typer keeps the lines after a backspace
    configure_logging(LogSettings(level="error"))
    settings = load_settings()
    thresholds = [check_threshold(value) for value in sorted(set(threshold or ()))]
    specs = read_specs(policy or (), settings.decision)
    _check(thresholds, specs, shared=shared)
    skipped = {str(path): SkippedRecords() for path in files}
    loaded = {str(path): load_pairs(path, seed=seed, on_skipped=skipped[str(path)].add)[:limit] for path in files}
    for records in skipped.values():
        records.finish()

    async def run() -> dict[str, list[TriedSetting]]:
        lowest = settings.decision
        if thresholds:
            lowest = lowest.model_copy(update={"threshold": thresholds[0], "overrides": ()})
        async with (
            _server(address, settings, lowest) as where,
            Client(where, api_key=api_key, root_certificate=ca) as client,
        ):
            if specs:
                return await _try_specs(client, loaded, specs)
            return await _try_thresholds(client, loaded, thresholds or [None], settings.decision, shared=shared)

    results = asyncio.run(run())
    if json:
        documents = [as_json(name, tried, skipped[name].count) for name, tried in results.items()]
        typer.echo(json_format.dumps({"files": documents}, ensure_ascii=False))
        return
    for name, tried in results.items():
        print_tables(Console(), name, tried, show)


def _check(thresholds: Sequence[float], specs: Sequence[Spec], *, shared: bool) -> None:
    if thresholds and specs:
        raise InvalidRequestError(
            "Both --threshold and --policy say what to try.", hint="Write --policy threshold=… for each threshold."
        )
    if specs and shared:
        raise InvalidRequestError(
            "--policy compares pairs that don't meet each other, and --shared lets all of them meet.",
            hint="Leave --shared out, or try one --threshold after another.",
        )


async def _try_specs(client: Client, loaded: Loaded, specs: Sequence[Spec]) -> dict[str, list[TriedSetting]]:
    """Play each pair once; every policy decides about the similarities that the server reports."""
    results = {}
    with progress_bar("Playing", 2 * sum(len(pairs) for pairs in loaded.values())) as (progress, task):
        for name, pairs in loaded.items():
            progress.update(task, description=Path(name).name)
            played = await play_pairs(
                client, pairs, None, shared=False, on_progress=lambda count: progress.advance(task, count)
            )
            results[name] = [
                TriedSetting(spec.name, spec.decision.threshold, tuple(played), tuple(replay_decision(played, spec)))
                for spec in specs
            ]
    return results


async def _try_thresholds(
    client: Client,
    loaded: Loaded,
    thresholds: Sequence[float | None],
    shipped: DecisionSettings,
    *,
    shared: bool,
) -> dict[str, list[TriedSetting]]:
    """Play each pair once for each threshold, and count what the server serves."""
    results: dict[str, list[TriedSetting]] = {}
    total = 2 * len(thresholds) * sum(len(pairs) for pairs in loaded.values())
    with progress_bar("Playing", total) as (progress, task):
        for name, pairs in loaded.items():
            progress.update(task, description=Path(name).name)
            results[name] = [
                await _try_threshold(client, pairs, threshold, shipped, progress, task, shared=shared)
                for threshold in thresholds
            ]
    return results


async def _try_threshold(
    client: Client,
    pairs: Sequence[LabelledPair],
    threshold: float | None,
    shipped: DecisionSettings,
    progress: Progress,
    task: TaskID,
    *,
    shared: bool,
) -> TriedSetting:
    played = await play_pairs(
        client, pairs, threshold, shared=shared, on_progress=lambda count: progress.advance(task, count)
    )
    # A running server raises a threshold below its own, so the results are named after the threshold it applied.
    counted = (one.threshold for one in played if one.threshold is not None)
    effective = next(counted, shipped.threshold if threshold is None else threshold)
    return TriedSetting(f"{effective:g}", effective, tuple(played), tuple(one.served for one in played))


@asynccontextmanager
async def _server(address: str | None, settings: Settings, decision: DecisionSettings) -> AsyncIterator[str]:
    """Give the address of the running server, or of a new one with an empty store that ends with the block."""
    if address is not None:
        yield address
        return
    async with own_server(settings, decision) as own:
        yield own
