"""`semcache stats`: shows the state of a server."""

from __future__ import annotations

import typer
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.table import Table

from semcache.cli.options import Address, ApiKey, Ca, Json, connect
from semcache.client.connection import DEFAULT_ADDRESS
from semcache.v1 import semcache_pb2 as pb

_USD = 1_000_000_000


def stats(*, address: Address = DEFAULT_ADDRESS, api_key: ApiKey = None, ca: Ca = None, json: Json = False) -> None:
    """Show a server's work since its start, and what the tenant spent and saved since the ledger began.

    Without the right to read the whole server's state, its work is that for the caller's tenant.
    """
    with connect(address, api_key, ca) as client:
        state, savings = client.stats(), client.savings()
    if json:
        import json as json_format

        document = {"stats": MessageToDict(state), "savings": MessageToDict(savings)}
        typer.echo(json_format.dumps(document))
        return
    console = Console()
    console.print(_requests(state))
    console.print(_server(state))
    console.print(_money(state, savings))
    if savings.budgets:
        console.print(_budgets(savings))


def _requests(state: pb.GetStatsResponse) -> Table:
    table = Table("status", "requests", title=f"Requests since the start, {_whose(state)}", title_justify="left")
    table.columns[1].justify = "right"
    for name in ("exact_hit", "semantic_hit", "coalesced", "miss", "bypass", "refresh", "stale", "error", "cancelled"):
        table.add_row(name.replace("_", " "), f"{getattr(state.requests, name):,}")
    table.add_section()
    table.add_row("all", f"{state.requests.total:,}")
    table.add_row("hit ratio", f"{state.hit_ratio:.1%}" if state.HasField("hit_ratio") else "–")
    return table


def _whose(state: pb.GetStatsResponse) -> str:
    return "all tenants" if state.whole else "this tenant"


def _server(state: pb.GetStatsResponse) -> Table:
    table = Table(title=f"semcache {state.version}", title_justify="left", show_header=False)
    embedder = state.embedder
    table.add_row("up for", f"{state.uptime.seconds:,} s")
    if state.whole:
        table.add_row("entries", f"{state.entries:,}, {state.store_bytes / 1e6:,.1f} MB")
        table.add_row("evicted, expired", f"{state.evictions:,}, {state.expirations:,}")
    model = f"{embedder.model} with {embedder.adapter}" if embedder.adapter else embedder.model
    table.add_row("embedder", f"{model}, {embedder.backend} {embedder.precision} on {embedder.device}")
    for index in state.indexes:
        table.add_row(f"index {index.kind}", f"{index.vectors:,} vectors in {index.partitions:,} partitions")
    if state.whole:
        busy = [f"{queue.name} {queue.depth:,} of {queue.capacity:,}" for queue in state.queues if queue.depth]
        table.add_row("waiting", ", ".join(busy) or "nothing")
    table.add_row("verdicts", f"{state.verdicts_right:,} right, {state.verdicts_wrong:,} wrong")
    return table


def _money(state: pb.GetStatsResponse, savings: pb.GetSavingsResponse) -> Table:
    table = Table(title="Dollars", title_justify="left")
    for name in ("", "spent", "saved", "net", "saved %"):
        table.add_column(name, justify="left" if not name else "right")
    total = savings.total
    table.add_row(f"since the start, {_whose(state)}", _usd(state.spent_nanousd), _usd(state.saved_nanousd), "", "")
    percent = f"{total.savings_percent:.1f}" if total.HasField("savings_percent") else "–"
    table.add_row(
        "ledger, this tenant",
        _usd(total.spent_nanousd),
        _usd(total.saved_nanousd),
        _usd(total.saved_net_nanousd),
        percent,
    )
    notes = []
    if total.unpriced_count:
        names = ", ".join(model.model for model in state.unpriced_models) or "models without a known price"
        notes.append(f"{total.unpriced_count:,} requests are in no amount: {names}")
    if total.partly_priced_count:
        notes.append(f"The amounts of {total.partly_priced_count:,} requests lack the right price of a part or tier")
    table.caption = "\n".join(notes) or None
    return table


def _budgets(savings: pb.GetSavingsResponse) -> Table:
    table = Table(
        "budget", "period", "limit", "spent", "reserved", "state", "whole again", title="This tenant's budgets"
    )
    table.title_justify = "left"
    for budget in savings.budgets:
        of_model = f" ({budget.model})" if budget.model else ""
        table.add_row(
            budget.name + of_model,
            budget.period,
            _usd(budget.limit_nanousd),
            _usd(budget.spent_nanousd),
            _usd(budget.reserved_nanousd),
            pb.BudgetState.Name(budget.state).removeprefix("BUDGET_STATE_").lower(),
            f"{budget.reset_time.ToDatetime():%Y-%m-%d %H:%M} UTC",
        )
    return table


def _usd(nanousd: int) -> str:
    return f"${nanousd / _USD:,.6f}"
