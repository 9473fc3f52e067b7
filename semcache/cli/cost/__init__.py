"""The commands `semcache cost …`: what was spent and saved, told to whoever answers for the money."""

import typer

from semcache.cli.cost.budget import budget
from semcache.cli.cost.chargeback import chargeback
from semcache.cli.cost.export import export
from semcache.cli.cost.report import report
from semcache.cli.cost.roi import roi

app = typer.Typer(
    name="cost",
    help="What was spent and saved, from a server's ledger, beside the running server.",
    no_args_is_help=True,
)
app.command()(report)
app.command()(budget)
app.command()(roi)
app.command()(chargeback)
app.command()(export)

__all__ = ["app"]
