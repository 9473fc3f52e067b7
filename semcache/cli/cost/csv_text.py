"""Texts in CSV files that spreadsheets open."""

from __future__ import annotations

_FORMULA_STARTS = ("=", "+", "-", "@", "\t")


def plain(text: str) -> str:
    """The text, an apostrophe before what a spreadsheet would take for a formula: callers name models and tasks.

    What isn't Unicode becomes a question mark, and so does a carriage return: before Python 3.13 `csv` leaves it
    without quotes, and whoever reads it back begins a new row there.
    """
    text = text.encode("utf-8", "replace").decode().replace("\r", "?")
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
