"""Make labelled texts of frames: wordings of one request around a slot, and what stands in it.

Two wordings of a frame with the same filling are a hit. Another filling, and another frame of the family with the same
filling, make traps: the request beside it, and the same request about something else.
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
    frame, other = chance.sample(family.frames, 2)
    filling, another = chance.sample(family.fillings, 2)
    first, second = chance.sample(frame, 2)
    repeated = chance.choice(frame)
    beside = chance.choice(other)
    return FramedTexts(
        (
            (first.format(filling), second.format(filling)),
            (repeated.format(another),),
            (beside.format(filling),),
        )
    )
