"""Draw the texts and the labelled pairs of a training step."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semcache.training.edits import Editor
from semcache.training.frames import draw_framed_texts, draw_template_texts, draw_unrelated_texts
from semcache.training.groups import Group
from semcache.training.recipe import Recipe

_TRIES = 20
"""Texts that are looked at for an edit: most texts have one."""


Guards = Callable[[str, str], float | None]
"""Returns what the guards add to the cosine of two texts; None where one vetoes the pair."""


@dataclass(frozen=True, slots=True)
class TextPair:
    """Two texts, and whether one answer serves both."""

    first: str
    second: str
    same: bool


@dataclass(slots=True)
class TrainingBatch:
    """The texts of a step and what is known of them.

    Attributes:
        guards: says what the guards add to a pair's cosine, None for a veto.
        texts: each once.
        first: places in `texts`, one for each labelled pair.
        second: as `first`, of the other side.
        same: whether the pair's answers are one.
        shift: what the guards add to the pair's cosine.
        part: the pair's neighbourhood, by number.
        unrelated: places of texts that have nothing to do with each other.
    """

    guards: Guards
    texts: list[str] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    second: list[int] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)
    shift: list[float] = field(default_factory=list)
    part: list[int] = field(default_factory=list)
    unrelated: list[int] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    def place(self, text: str) -> int:
        """Return the place of a text, added if it is new."""
        if text not in self._places:
            self._places[text] = len(self.texts)
            self.texts.append(text)
        return self._places[text]

    def add(self, first: str, second: str, part: int, *, same: bool) -> None:
        """Add a labelled pair. Equal texts and pairs that a guard vetoes are left out: no cosine decides them."""
        shift = None if first == second else self.guards(first, second)
        if shift is not None:
            self.shift.append(shift)
            self.first.append(self.place(first))
            self.second.append(self.place(second))
            self.same.append(same)
            self.part.append(part)


class Sampler:
    """Draws batches. Equal seeds and step numbers give equal batches, so that a stopped run can go on.

    Args:
        groups: the groups to train on.
        pairs: further labelled pairs.
        first_vectors: unit vectors of each group's first text, without corrections: (groups, dimension). They say
            which groups are near each other.
        recipe: how many of each are drawn.
        guards: say what they add to a pair's cosine.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        pairs: Sequence[TextPair],
        first_vectors: NDArray[np.float32],
        *,
        recipe: Recipe,
        guards: Guards,
    ) -> None:
        self._guards = guards
        self._groups = tuple(groups)
        self._pairs = tuple(pairs)
        self._recipe = recipe
        self._near = _nearest_groups(self._groups, first_vectors, recipe.neighbours)
        self._texts = [text for group in self._groups for text in group.texts]
        self._editor = Editor(self._texts)
        self._domains: dict[str, list[Group]] = {}
        for group in self._groups:
            self._domains.setdefault(group.domain, []).append(group)

    def draw(self, seed: int, step: int) -> TrainingBatch:
        """Return the batch of a step."""
        chance = random.Random(f"{seed}/{step}")  # noqa: S311 - a draw that can be repeated
        recipe, batch = self._recipe, TrainingBatch(self._guards)
        for part in range(recipe.neighbourhoods if self._groups else 0):
            self._add_neighbourhood(batch, chance, part)
        draws = [draw_framed_texts] * recipe.frames + [draw_template_texts] * recipe.templates
        for part, draw in enumerate(draws, recipe.neighbourhoods):
            _add_parted(batch, draw(chance).groups, part)
        self._add_single_pairs(batch, chance, recipe.neighbourhoods + len(draws))
        domains = chance.sample(sorted(self._domains), min(recipe.unrelated, len(self._domains)))
        unrelated = [chance.choice(chance.choice(self._domains[name]).texts) for name in domains]
        # Groups without domains are all of one domain, and pairs have none: frames and templates stand in for them.
        unrelated += draw_unrelated_texts(chance, recipe.unrelated - len(unrelated))
        batch.unrelated = [batch.place(text) for text in unrelated]
        return batch

    def _add_neighbourhood(self, batch: TrainingBatch, chance: random.Random, part: int) -> None:
        """Add a group with its traps and its nearest groups: texts of two groups have two answers."""
        recipe = self._recipe
        place = chance.randrange(len(self._groups))
        middle = self._groups[place]
        members = [middle, *(self._groups[near] for near in self._near[place])]
        drawn = [tuple(chance.sample(group.texts, min(recipe.texts, len(group.texts)))) for group in members]
        _add_parted(batch, drawn, part)
        for trap in chance.sample(middle.traps, min(recipe.traps, len(middle.traps))):
            for text in drawn[0]:
                batch.add(text, trap, part, same=False)

    def _add_single_pairs(self, batch: TrainingBatch, chance: random.Random, part: int) -> None:
        for number in range(self._recipe.edits if self._texts else 0):
            for _ in range(_TRIES):
                edited = self._editor.edit(chance.choice(self._texts), chance)
                if edited is not None:
                    batch.add(edited.text, edited.same, part + number, same=True)
                    batch.add(edited.text, edited.different, part + number, same=False)
                    break
        for pair in chance.sample(self._pairs, min(self._recipe.pairs, len(self._pairs))):
            batch.add(pair.first, pair.second, _NO_PART, same=pair.same)


_NO_PART = -1
"""The part of a pair that belongs to no neighbourhood."""


def _add_parted(batch: TrainingBatch, groups: Sequence[Sequence[str]], part: int) -> None:
    """Add all pairs of the groups' texts: those within a group as hits, those of two groups as traps."""
    named = [(number, text) for number, texts in enumerate(groups) for text in texts]
    for place, (number, text) in enumerate(named):
        for other_number, other in named[place + 1 :]:
            batch.add(text, other, part, same=number == other_number)


def _nearest_groups(groups: Sequence[Group], vectors: NDArray[np.float32], count: int) -> tuple[tuple[int, ...], ...]:
    """Return the places of each group's nearest groups of its domain, at most `count`."""
    domains = np.array([group.domain for group in groups])
    near = []
    for place, group in enumerate(groups):
        others = np.flatnonzero(domains == group.domain)
        others = others[others != place]
        order = np.argsort(-(vectors[others] @ vectors[place]), kind="stable")[:count]
        near.append(tuple(others[order].tolist()))
    return tuple(near)
