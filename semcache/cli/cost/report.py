"""`semcache cost report`: what requests cost and what the cache saved."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from semcache.cli.cost.ledger import From, Month, OpenLedger, Store, Tenants, To, open_ledger
from semcache.cli.cost.report_tables import as_json, groups_table, money_table, requests_table, tokens_table
from semcache.cli.cost.titles import of_tenants
from semcache.cli.cost.writing import prepare_page, write_page
from semcache.cli.options import Config, Json
from semcache.costs.periods import Period
from semcache.errors import InvalidRequestError
from semcache.finance.formatting import printable
from semcache.finance.report import cost_report, remarks
from semcache.finance.request_costs import cost_ranges
from semcache.finance.savings import SavingsGroup, savings, unpriced_models
from semcache.model import LedgerHour


def report(
    *,
    by: Annotated[list[SavingsGroup] | None, typer.Option("--by", help="Group by this; may be repeated.")] = None,
    first: From = None,
    last: To = None,
    month: Month = None,
    tenant: Tenants = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with charts: FILE.html.")] = None,
    store: Store = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Show what requests cost, what the cache saved, gross and net, and how requests ended."""
    if html is not None:
        prepare_page(html)
    with open_ledger(config, store) as ledger:
        window = ledger.window(first, last, month)
        hours = ledger.hours(window, tenant)
        savings_by_group = savings(hours, by or (), calendar=ledger.calendar)
        unpriced = unpriced_models(hours)
        if html is not None:
            _write(html, ledger, window, tenant, hours)
        if json:
            typer.echo(json_format.dumps(as_json(savings_by_group, by or (), unpriced, ledger, window, tenant)))
            return
        console = Console()
        if not hours:
            empty = ledger.extent.first_hour_s is None
            message = "is empty" if empty else f"has nothing in {of_tenants(window.name, tenant)}"
            console.print(printable(f"The ledger {message}."), markup=False, highlight=False)
        elif by:
            console.print(groups_table(savings_by_group, by, of_tenants(window.name, tenant), ledger, console.width))
        else:
            console.print(money_table(savings_by_group.total, of_tenants(window.name, tenant)))
            console.print(requests_table(savings_by_group.total))
            console.print(tokens_table(savings_by_group.total))
        for remark in remarks(savings_by_group.total, unpriced):
            console.print(remark, markup=False, highlight=False)
        console.print(ledger.provenance(), markup=False, highlight=False)
    if html is not None:
        typer.echo(f"The page is {html}.")


def _write(
    html: Path, ledger: OpenLedger, window: Period, tenants: list[str] | None, hours: tuple[LedgerHour, ...]
) -> None:
    from semcache.reports import cost_page

    if not hours:
        raise InvalidRequestError(
            f"The ledger has nothing in {of_tenants(window.name, tenants)} to draw.",
            hint="Name another window or tenant.",
        )
    ranges = cost_ranges(ledger.lines(window, tenants))
    whole = cost_report(hours, ledger.calendar)
    write_page(html, cost_page(whole, ranges, of_tenants(window.name, tenants), ledger.provenance()))
