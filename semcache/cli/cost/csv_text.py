"""Makes texts safe for CSV files that spreadsheets open."""

from __future__ import annotations

_FORMULA_STARTS = ("=", "+", "-", "@", "\t")


def plain(text: str) -> str:
    """Return the text with an apostrophe before it if a spreadsheet would take it for a formula.

    Callers choose the names of models and task types, so a name may be written to do harm. Characters that aren't
    Unicode become question marks. So do carriage returns, because before Python 3.13 `csv` writes them without quotes
    and a reader would begin a new row there.
    """
    text = text.encode("utf-8", "replace").decode().replace("\r", "?")
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
