"""`semcache explain`: says what a server would do with a request."""

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
    *,
    prompt: Annotated[str | None, typer.Argument(help="The prompt, as one user message.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="The model alias of the request.")] = "",
    file: Annotated[Path | None, typer.Option(help="A file with an OpenAI request body, instead of a prompt.")] = None,
    namespace: Annotated[str, typer.Option(help="The namespace to look in.")] = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = None,
    ca: Ca = None,
    json: Json = False,
) -> None:
    """Say what a server would do with a request, and why; nothing is served, stored or counted."""
    with connect(address, api_key, ca) as client:
        if file is not None:
            body = _read(file)
            response = client.explain(openai_json=body, namespace=namespace)
        elif prompt and model:
            response = client.explain(model=model, prompt=prompt, namespace=namespace)
        else:
            raise InvalidRequestError("There is nothing to explain.", hint="Give a prompt with --model, or --file.")
    if json:
        typer.echo(json_format.dumps(MessageToDict(response)))
        return
    console = Console()
    console.print(f"[bold]{pb.Status.Name(response.status).removeprefix('STATUS_')}[/bold]: {response.reason}")
    console.print(
        f"cacheability: {response.cacheability_reason}; entries in its partition: {response.partition_entries:,}"
    )
    for line in _task(response):
        console.print(line)
    if response.HasField("effective_threshold"):
        console.print(f"policy {response.policy}: similarity of at least {response.effective_threshold:g}")
    if response.exact_entry_id:
        console.print(f"the same request is stored as {response.exact_entry_id}")
    if response.candidates:
        console.print(_candidates(response))


def _task(response: pb.ExplainResponse) -> Iterator[str]:
    """Yield lines about the task type, the complexity and the models that would be called."""
    if response.task_type:
        yield f"task type {escape(response.task_type)}, by {response.task_type_reason}"
    if response.complexity:
        yield f"complexity {escape(response.complexity)}, by {response.complexity_reason}"
    if response.candidate_models:
        yield f"would be asked: {escape(', '.join(response.candidate_models))}"
    else:
        yield f"no route serves {escape(response.requested_model)}"


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidRequestError(f"{file} can't be read: {error.strerror}.", hint="Name a readable file.") from error


def _candidates(response: pb.ExplainResponse) -> Table:
    table = Table("entry", "similarity", "reason", "guards", "its text")
    for candidate in response.candidates:
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
