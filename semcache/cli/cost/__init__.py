"""The commands `semcache cost …`: reports on what was spent and saved, from the ledger of a store."""

import typer

from semcache.cli.cost.budget import budget
from semcache.cli.cost.chargeback import chargeback
from semcache.cli.cost.export import export
from semcache.cli.cost.report import report
from semcache.cli.cost.roi import roi

app = typer.Typer(
    name="cost",
    help="Report on what was spent and saved, from the ledger of a server, which may be running.",
    no_args_is_help=True,
)
app.command()(report)
app.command()(budget)
app.command()(roi)
app.command()(chargeback)
app.command()(export)

__all__ = ["app"]
