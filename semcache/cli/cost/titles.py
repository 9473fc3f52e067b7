"""What names are to a terminal: neither markup nor controls, whoever chose them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from semcache.finance.formatting import printable


def titled(title: str) -> Text:
    """The title of a table."""
    return Text(printable(title), style="table.title")


def named(text: str) -> Text:
    """A cell with a name."""
    return Text(printable(text))


def of_tenants(window: str, tenants: Sequence[str] | None) -> str:
    """A window, and the tenants that it is told of where only some are."""
    return ", ".join([window, *(tenants or ())])
