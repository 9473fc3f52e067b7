"""Word lists, written for semcache. A line that begins with # describes its list."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files


def lines(name: str) -> Iterator[str]:
    """Yield the lines of a list, without comments and empty lines."""
    for line in files(__name__).joinpath(f"{name}.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line


def words(name: str) -> frozenset[str]:
    """Return a list of single words."""
    return frozenset(word for line in lines(name) for word in line.split())


def groups(name: str) -> Iterator[list[str]]:
    """Yield the groups of a list. A line holds several groups, separated by bars."""
    for line in lines(name):
        for group in line.split("|"):
            yield group.split()


def meanings(name: str) -> dict[str, tuple[str, ...]]:
    """Return a list of words with their meanings: on each line a word, then what it stands for."""
    return {word: tuple(meaning) for word, *meaning in map(str.split, lines(name))}
