"""Reads the word lists that pairs are made of by rules. A line that begins with # is a comment."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent


@cache
def lines(name: str) -> tuple[str, ...]:
    """Return the lines of a list, without comments and empty ones.

    Args:
        name: of the list, without its suffix.
    """
    content = (_FOLDER / f"{name}.txt").read_text("utf-8")
    return tuple(line for line in content.splitlines() if line.strip() and not line.startswith("#"))
