"""Wordings that tell whether a request is repeatable, written for semcache. `wordings.py` tells the lines' syntax."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files


def lines(name: str) -> Iterator[str]:
    """Yield the lines of a table, without comments and empty lines."""
    for line in files(__name__).joinpath(f"{name}.txt").read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line
