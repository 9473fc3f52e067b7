"""The page of `semcache cost chargeback --html`: all invoices, and the check that they add up to the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from semcache.finance.chargeback import LINE_DECIMALS, Chargeback, Invoice
from semcache.finance.formatting import Dollars, exactly
from semcache.reports.page import notes, page, table

_HEADS = ("", "requests", "tokens", "upstream cost $", "charged $")


def invoice_page(result: Chargeback, month: str, provenance: str, remarks: Sequence[str]) -> str:
    """Return the page as HTML.

    Args:
        result: the invoices.
        month: the month in words.
        provenance: a sentence that says when and from where the ledger was read.
        remarks: the limits of the invoices, one sentence each.
    """
    dollars = Dollars.fitting(invoice.used.cost_nanousd for invoice in result.invoices)
    rows = [
        (
            "",
            (
                f"{invoice.tenant} ({invoice.plan})",
                f"{invoice.used.requests:,}",
                f"{invoice.used.tokens:,}",
                dollars.of(invoice.used.cost_nanousd),
                f"{invoice.total_usd:,.2f}",
            ),
        )
        for invoice in result.invoices
    ]
    total = (
        "all",
        f"{result.invoiced.requests:,}",
        f"{result.invoiced.tokens:,}",
        dollars.of(result.invoiced.cost_nanousd),
    )
    rows.append((' class="chosen"', (*total, f"{result.total_usd:,.2f}")))
    body = [f"<h2>All tenants</h2>{table(_HEADS, rows)}", *map(_invoice, result.invoices)]
    return page(
        "semcache cost chargeback",
        f"Invoices: {month}",
        provenance,
        [*body, "<h2>To keep in mind</h2>", notes(remarks)],
    )


def _invoice(invoice: Invoice) -> str:
    dollars = Dollars.fitting(line.used.cost_nanousd for line in invoice.lines)
    rows = [
        (
            "",
            (
                line.text,
                f"{line.used.requests:,}",
                f"{line.used.tokens:,}",
                dollars.of(line.used.cost_nanousd),
                exactly(line.usd, LINE_DECIMALS),
            ),
        )
        for line in invoice.lines
    ]
    used = invoice.used
    total = (
        "due",
        f"{used.requests:,}",
        f"{used.tokens:,}",
        dollars.of(used.cost_nanousd),
        f"{invoice.total_usd:,.2f}",
    )
    rows.append((' class="chosen"', total))
    return f"<h2>{escape(invoice.tenant)}: {escape(invoice.plan)}</h2>{table(_HEADS, rows)}"
