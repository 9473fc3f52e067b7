"""The page of `semcache cost chargeback --html`: one invoice after the other, and the proof that they add up."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from semcache.finance.chargeback import LINE_DECIMALS, Chargeback, Invoice
from semcache.finance.formatting import Dollars, exactly
from semcache.reports.page import notes, page, table

_HEADS = ("", "requests", "tokens", "upstream cost $", "charged $")


def invoice_page(told: Chargeback, month: str, read: str, remarks: Sequence[str]) -> str:
    """The whole page as HTML.

    Args:
        told: the invoices.
        month: of which month, in words.
        read: when and from where the ledger was read, a sentence.
        remarks: what to keep in mind, a sentence each.
    """
    dollars = Dollars.fitting(invoice.used.cost_nanousd for invoice in told.invoices)
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
        for invoice in told.invoices
    ]
    total = ("all", f"{told.invoiced.requests:,}", f"{told.invoiced.tokens:,}", dollars.of(told.invoiced.cost_nanousd))
    rows.append((' class="chosen"', (*total, f"{told.total_usd:,.2f}")))
    body = [f"<h2>All tenants</h2>{table(_HEADS, rows)}", *map(_invoice, told.invoices)]
    return page(
        "semcache cost chargeback",
        f"Invoices: {month}",
        read,
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
