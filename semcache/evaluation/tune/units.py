"""Finds the units of labelled pairs: the groups that are independent of each other, by the data or by shared texts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from semcache.evaluation.labels.pairs import BACKGROUND, LabelledPair, Message

Numbers = NDArray[np.int64]

Node = TypeVar("Node", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Units:
    """The units of pairs.

    Attributes:
        asked: the unit of the text that is looked up, by number, shape (pairs,).
        stored: the unit of the stored text, shape (pairs,); -1 for a prompt of other traffic.
        count: the number of units.
        basis: what a unit is, as a plural noun.
        joined: names of groups that share a text with another group and so are one unit with it.
    """

    asked: Numbers
    stored: Numbers
    count: int
    basis: str
    joined: int = 0

    def part(self, chosen: NDArray[np.bool_] | Numbers) -> Units:
        """Return the units of the chosen pairs, numbered anew."""
        asked, stored = self.asked[chosen], self.stored[chosen]
        present, numbers = np.unique(np.concatenate([asked, stored[stored >= 0]]), return_inverse=True)
        renumbered = np.full(stored.shape, -1)
        renumbered[stored >= 0] = numbers[len(asked) :]
        return Units(numbers[: len(asked)].astype(np.int64), renumbered, len(present), self.basis, self.joined)


class Joined(Generic[Node]):
    """Sets of nodes that are joined with each other (union and find)."""

    def __init__(self) -> None:
        """Begin with no node."""
        self._parents: dict[Node, Node] = {}

    def __contains__(self, node: Node) -> bool:
        """Return whether a node was asked for or joined with another."""
        return node in self._parents

    def root(self, node: Node) -> Node:
        """Return the node that stands for all that are joined with a node."""
        parents = self._parents
        parents.setdefault(node, node)
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    def join(self, first: Node, second: Node) -> None:
        """Join two nodes, with all that are joined with either; the first one's root stands for them."""
        self._parents[self.root(second)] = self.root(first)


def units_of(pairs: Sequence[LabelledPair]) -> Units:
    """Return the units of pairs.

    A group that the data names is a unit: a cluster, a conversation, a day. Pairs without one are a unit with all pairs
    that share a text with them, directly or over others. Groups that share a text are joined, since they aren't
    independent. Days (as in 2026-01-31) aren't joined: a text that is asked again on other days is what a cache sees,
    and joining by such texts would make one unit of all days.
    """
    joined = Joined[Hashable]()
    sides: list[tuple[Hashable, Hashable | None]] = []
    groups: set[Hashable] = set()
    for pair in pairs:
        asked: Hashable = ("group", pair.group) if pair.group else _text(pair.asked)
        stored: Hashable | None = asked
        if pair.stored_group == BACKGROUND:
            stored = None
        elif pair.stored_group:
            stored = ("group", pair.stored_group)
        if pair.group:
            groups |= {asked} if stored is None else {asked, stored}
        if not _is_day(pair.group):
            joined.join(asked, _text(pair.asked))
            if stored is not None:
                joined.join(stored, _text(pair.stored))
        sides.append((asked, stored))
    numbers: dict[Hashable, int] = {}

    def number(node: Hashable | None) -> int:
        return -1 if node is None else numbers.setdefault(joined.root(node), len(numbers))

    numbered = np.array([(number(asked), number(stored)) for asked, stored in sides], np.int64).reshape(-1, 2)
    merged = len(groups) - len({joined.root(group) for group in groups})
    named = sum(bool(pair.group) for pair in pairs)
    basis = "groups of the data" if named == len(pairs) and pairs else "groups of connected texts"
    return Units(numbered[:, 0], numbered[:, 1], len(numbers), basis, merged)


def _is_day(group: str) -> bool:
    try:
        date.fromisoformat(group)
    except ValueError:
        return False
    return "-" in group


def _text(side: Sequence[Message]) -> Hashable:
    return ("text", *((message["role"], message["content"]) for message in side))
