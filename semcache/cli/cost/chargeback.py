"""`semcache cost chargeback`: a month's invoices."""

from __future__ import annotations

import csv
import json as json_format
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from semcache.cli.cost.csv_text import plain
from semcache.cli.cost.ledger import Month, OpenLedger, Store, Tenants, open_ledger
from semcache.cli.cost.titles import named
from semcache.cli.cost.writing import check_folder, write_page
from semcache.cli.options import Config, Json
from semcache.costs.periods import Period
from semcache.errors import InvalidRequestError
from semcache.finance.chargeback import LINE_DECIMALS, Amounts, Chargeback, Invoice
from semcache.finance.chargeback import chargeback as charge
from semcache.finance.formatting import Dollars, counted, exactly
from semcache.finance.rate_card_file import read_rate_card
from semcache.finance.savings import unpriced_models
from semcache.model import NANOUSD_PER_USD

_CSV_HEADS = (
    "month",
    "tenant",
    "plan",
    "line",
    "requests",
    "tokens",
    "cost_nanousd",
    "amount_usd",
    "invoice_total_usd",
)


def chargeback(
    *,
    tariff: Annotated[
        Path, typer.Option("--tariff", help="TOML file with price tiers and plans, such as examples/tariff.toml.")
    ],
    month: Month = None,
    tenant: Tenants = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the lines of all invoices: FILE.csv.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the invoices as a page: FILE.html.")] = None,
    store: Store = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Show a month's invoices, one for each tenant. Exit code 1 when they don't add up to the ledger."""
    if month is None:
        raise InvalidRequestError("An invoice is for a month.", hint="Name the month, as in --month 2026-11.")
    for file in (csv_file, html):
        if file is not None:
            check_folder(file)
    card = read_rate_card(tariff)
    with open_ledger(config, store) as ledger:
        chosen = ledger.begun(ledger.month(month))
        hours = ledger.hours(chosen, tenant)
        result = charge(hours, card, tenant or ())
        remarks = _remarks(ledger, chosen, card.version, sum(unpriced_models(hours).values()))
        check = _check(result)
        provenance = ledger.provenance()
        if csv_file is not None:
            _write_csv(csv_file, result, chosen.name)
        if html is not None:
            from semcache.reports import invoice_page

            write_page(html, invoice_page(result, chosen.name, provenance, [*remarks, check]))
        if json:
            typer.echo(
                json_format.dumps(
                    {
                        "draft": ledger.now_s < chosen.end_s,
                        **ledger.as_json(chosen),
                        "tariff": card.version,
                        **_as_json(result),
                    }
                )
            )
        else:
            _print(result, chosen, [*remarks, check, provenance])
    if not result.adds_up:
        raise typer.Exit(1)


def _print(result: Chargeback, month: Period, remarks: list[str]) -> None:
    console = Console()
    if result.invoices:
        console.print(_table(result, month.name))
    else:
        console.print(f"There is nobody to invoice for {month.name}.", highlight=False)
    for remark in remarks:
        console.print(remark, markup=False, highlight=False)


def _table(result: Chargeback, month: str) -> Table:
    table = Table(
        "tenant, plan", "requests", "tokens", "cost $", "charged $", title=f"Invoices: {month}", title_justify="left"
    )
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    dollars = Dollars.fitting(invoice.used.cost_nanousd for invoice in result.invoices)
    for invoice in result.invoices:
        for line in invoice.lines:
            amount = exactly(line.usd, LINE_DECIMALS)
            table.add_row(named(f"  {line.text}"), *_cells(line.used, dollars), amount, style="dim")
        name = named(f"{invoice.tenant}, {invoice.plan}")
        table.add_row(name, *_cells(invoice.used, dollars), f"{invoice.total_usd:,.2f}", style="bold")
        table.add_section()
    table.add_row("all", *_cells(result.invoiced, dollars), f"{result.total_usd:,.2f}", style="bold")
    return table


def _cells(used: Amounts, dollars: Dollars) -> tuple[str, str, str]:
    return f"{used.requests:,}", f"{used.tokens:,}", dollars.of(used.cost_nanousd)


def _check(result: Chargeback) -> str:
    ledger, invoiced = result.ledger, result.invoiced
    if result.adds_up:
        return (
            f"The invoices add up to the ledger: {ledger.requests:,} requests, {ledger.tokens:,} tokens, "
            f"${exactly(_usd(ledger), 9)}."
        )
    return (
        "The invoices do NOT add up to the ledger: "
        f"{invoiced.requests:,} of {ledger.requests:,} requests, {invoiced.tokens:,} of {ledger.tokens:,} tokens, "
        f"${exactly(_usd(invoiced), 9)} of ${exactly(_usd(ledger), 9)}."
    )


def _usd(used: Amounts) -> Fraction:
    return Fraction(used.cost_nanousd, NANOUSD_PER_USD)


def _remarks(ledger: OpenLedger, month: Period, version: str, unpriced: int) -> list[str]:
    result = [f"By {version}; lines are exact, and each invoice is rounded to cents once, half to even."]
    if ledger.now_s < month.end_s:
        result.append(f"{month.name} isn't over: these are drafts.")
    if unpriced:
        result.append(
            f"Of unknown cost: {counted(unpriced, 'request')}; a mark-up charges nothing for them, other plans do."
        )
    return result


def _write_csv(file: Path, result: Chargeback, month: str) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(_CSV_HEADS)
        for invoice in result.invoices:
            for line in invoice.lines:
                used = (line.used.requests, line.used.tokens, line.used.cost_nanousd)
                names = (plain(invoice.tenant), plain(invoice.plan), plain(line.text))
                amount = exactly(line.usd, 9).replace(",", "")
                writer.writerow((month, *names, *used, amount, invoice.total_usd))


def _as_json(result: Chargeback) -> dict[str, object]:
    return {
        "invoices": [_invoice_json(invoice) for invoice in result.invoices],
        "total_usd": str(result.total_usd),
        "ledger": _amounts_json(result.ledger),
        "adds_up": result.adds_up,
    }


def _invoice_json(invoice: Invoice) -> dict[str, object]:
    return {
        "tenant": invoice.tenant,
        "plan": invoice.plan,
        "total_usd": str(invoice.total_usd),
        **_amounts_json(invoice.used),
        "lines": [
            {
                "text": line.text,
                **_amounts_json(line.used),
                "amount_usd": exactly(line.usd, 9).replace(",", ""),
            }
            for line in invoice.lines
        ],
    }


def _amounts_json(used: Amounts) -> dict[str, object]:
    return {"requests": used.requests, "tokens": used.tokens, "cost_nanousd": used.cost_nanousd}
