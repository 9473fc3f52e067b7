"""Word lists, written for semcache. A line that begins with # says what a list is for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files


def lines(name: str) -> Iterator[str]:
    """The lines of a list that say something."""
    for line in files(__name__).joinpath(f"{name}.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line


def words(name: str) -> frozenset[str]:
    """A list of single words."""
    return frozenset(word for line in lines(name) for word in line.split())


def groups(name: str) -> Iterator[list[str]]:
    """A list of groups, of which several stand on a line, with a bar between."""
    for line in lines(name):
        for group in line.split("|"):
            yield group.split()


def meanings(name: str) -> dict[str, tuple[str, ...]]:
    """A list of words with what they stand for."""
    return {word: tuple(rest) for word, *rest in map(str.split, lines(name))}
