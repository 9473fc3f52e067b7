"""Make labelled texts of frames and templates: wordings of one request around slots, and what stands in them.

Two wordings of a frame with the same filling are a hit. Another filling, and another frame of the family with the same
filling, make traps: the request beside it, and the same request about something else.

A template has several slots. Texts of one template that differ in two slots or more are siblings: traps that share a
frame and hardly a word, which no guard sees.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from semcache.training.tables import lines


@dataclass(frozen=True, slots=True)
class Family:
    """Frames about one slot: the wordings of each, with {} for the filling, and the fillings."""

    frames: tuple[tuple[str, ...], ...]
    fillings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """Wordings of one request with a place for each slot by number, and the fillings of each slot."""

    wordings: tuple[str, ...]
    slots: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class FramedTexts:
    """Texts that are drawn together: `groups` of texts with one answer; those of two groups have two answers."""

    groups: tuple[tuple[str, ...], ...]


@cache
def families() -> tuple[Family, ...]:
    """Return all families of the shipped tables."""
    fillings = {name: _split(rest) for name, _, rest in (line.partition(":") for line in lines("slots"))}
    frames: dict[str, list[tuple[str, ...]]] = {}
    slot = ""
    for line in lines("frames"):
        if line.startswith("["):
            slot = line.strip("[] ")
        else:
            frames.setdefault(slot, []).append(_split(line))
    return _families(frames, fillings)


@cache
def templates() -> tuple[RequestTemplate, ...]:
    """Return all templates of the shipped table."""
    rows: list[list[tuple[str, ...]]] = []
    for line in lines("templates"):
        if line.startswith("="):
            rows.append([])
        rows[-1].append(_split(line.lstrip("=")))
    return tuple(RequestTemplate(wordings, tuple(slots)) for wordings, *slots in rows)


def _families(
    frames: Mapping[str, list[tuple[str, ...]]], fillings: Mapping[str, tuple[str, ...]]
) -> tuple[Family, ...]:
    return tuple(Family(tuple(of_slot), fillings[slot]) for slot, of_slot in frames.items())


def _split(line: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in line.split("|"))


def draw_framed_texts(chance: random.Random) -> FramedTexts:
    """Return two wordings of a frame, one of it with another filling, and one of another frame with the same filling.

    Args:
        chance: the source of the draw.
    """
    family = chance.choice(families())
    frame, other_frame = chance.sample(family.frames, 2)
    filling, another = chance.sample(family.fillings, 2)
    first, second = chance.sample(frame, 2)
    repeated = chance.choice(frame)
    beside = chance.choice(other_frame)
    return FramedTexts(
        (
            (first.format(filling), second.format(filling)),
            (repeated.format(another),),
            (beside.format(filling),),
        )
    )


_SIBLINGS = 3
"""Siblings of a drawn request."""


def draw_template_texts(chance: random.Random) -> FramedTexts:
    """Return two wordings of a template with the same fillings, and siblings of the first wording.

    Args:
        chance: the source of the draw.
    """
    template = chance.choice(templates())
    first, second = chance.sample(template.wordings, 2)
    fillings = [chance.choice(slot) for slot in template.slots]
    siblings: list[str] = []
    for _ in range(_SIBLINGS):
        changed = chance.sample(range(len(fillings)), chance.randint(2, len(fillings)))
        changed_fillings = [
            _another(slot, filling, chance) if place in changed else filling
            for place, (slot, filling) in enumerate(zip(template.slots, fillings, strict=True))
        ]
        siblings.append(first.format(*changed_fillings))
    return FramedTexts(((first.format(*fillings), second.format(*fillings)), *((text,) for text in siblings)))


def _another(slot: tuple[str, ...], filling: str, chance: random.Random) -> str:
    return chance.choice([other for other in slot if other != filling])


def draw_unrelated_texts(chance: random.Random, count: int) -> tuple[str, ...]:
    """Return texts that have nothing to do with each other: each of another family of frames or another template.

    Args:
        chance: the source of the draw.
        count: how many; fewer are returned where there are fewer families and templates.
    """
    sources: list[Family | RequestTemplate] = [*families(), *templates()]
    texts: list[str] = []
    for source in chance.sample(sources, min(count, len(sources))):
        if isinstance(source, Family):
            texts.append(chance.choice(chance.choice(source.frames)).format(chance.choice(source.fillings)))
        else:
            texts.append(chance.choice(source.wordings).format(*map(chance.choice, source.slots)))
    return tuple(texts)
