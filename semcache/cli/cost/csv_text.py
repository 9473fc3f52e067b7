"""Texts in CSV files that spreadsheets open."""

from __future__ import annotations

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def plain(text: str) -> str:
    """The text, an apostrophe before what a spreadsheet would take for a formula: callers name models and tasks.

    What isn't Unicode becomes a question mark.
    """
    text = text.encode("utf-8", "replace").decode()
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
