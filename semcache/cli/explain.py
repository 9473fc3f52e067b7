"""`semcache explain`."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from semcache.cli.options import Address, ApiKey, Ca, Json, connect
from semcache.client.connection import DEFAULT_ADDRESS
from semcache.errors import InvalidRequestError
from semcache.v1 import semcache_pb2 as pb


def explain(
    prompt: Annotated[str | None, typer.Argument(help="The prompt, as one user message.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="The alias that would be asked for.")] = "",
    file: Annotated[Path | None, typer.Option(help="A raw OpenAI request body instead of a prompt.")] = None,
    namespace: Annotated[str, typer.Option(help="The namespace to look in.")] = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = None,
    ca: Ca = None,
    json: Json = False,
) -> None:
    """What would happen to a request, and why; nothing is served, stored or counted."""
    with connect(address, api_key, ca) as client:
        if file is not None:
            body = _read(file)
            told = client.explain(openai_json=body, namespace=namespace)
        elif prompt and model:
            told = client.explain(model=model, prompt=prompt, namespace=namespace)
        else:
            raise InvalidRequestError("There is nothing to explain.", hint="Give a prompt with --model, or --file.")
    if json:
        typer.echo(json_format.dumps(MessageToDict(told)))
        return
    console = Console()
    console.print(f"[bold]{pb.Status.Name(told.status).removeprefix('STATUS_')}[/bold]: {told.reason}")
    console.print(f"cacheability: {told.cacheability_reason}; entries in its partition: {told.partition_entries:,}")
    for line in _task(told):
        console.print(line)
    if told.HasField("effective_threshold"):
        console.print(f"policy {told.policy}: similarity of at least {told.effective_threshold:g}")
    if told.exact_entry_id:
        console.print(f"the same request is stored as {told.exact_entry_id}")
    if told.candidates:
        console.print(_candidates(told))


def _task(told: pb.ExplainResponse) -> Iterator[str]:
    """What kind of task it is, and who would be asked."""
    if told.task_type:
        yield f"task type {escape(told.task_type)}, by {told.task_type_reason}"
    if told.complexity:
        yield f"complexity {escape(told.complexity)}, by {told.complexity_reason}"
    if told.candidate_models:
        yield f"would be asked: {escape(', '.join(told.candidate_models))}"
    else:
        yield f"no route serves {escape(told.requested_model)}"


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidRequestError(f"{file} can't be read: {error.strerror}.", hint="Name a readable file.") from error


def _candidates(told: pb.ExplainResponse) -> Table:
    table = Table("entry", "similarity", "reason", "guards", "its text")
    for candidate in told.candidates:
        vetoes = [f"{v.guard}: {v.detail}" for v in candidate.guard_verdicts if v.action == pb.GUARD_ACTION_VETO]
        style = "green" if candidate.served else ""
        table.add_row(
            candidate.entry_id,
            f"{candidate.similarity:.4f}",
            candidate.reason,
            escape("; ".join(vetoes)),
            escape(candidate.text[:80]),
            style=style,
        )
    return table
