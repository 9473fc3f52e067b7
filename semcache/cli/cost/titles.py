"""Makes names safe for a terminal: markup and control characters in them have no effect."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from semcache.finance.formatting import printable


def titled(title: str) -> Text:
    """Return the title of a table."""
    return Text(printable(title), style="table.title")


def named(text: str) -> Text:
    """Return a table cell with a name."""
    return Text(printable(text))


def of_tenants(window: str, tenants: Sequence[str] | None) -> str:
    """Return a window's name, followed by the tenants if the report is limited to some."""
    return ", ".join([window, *(tenants or ())])
