"""Read labelled pairs of prompts to train on, and hold some of them back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.files import load_pairs
from semcache.evaluation.tune.units import Joined
from semcache.training.batches import TextPair
from semcache.training.groups import Group, folded
from semcache.training.measuring import Division


def read_text_pairs(path: Path, on_skipped: Callable[[str], None]) -> tuple[TextPair, ...]:
    """Return the pairs of a file, in any format of labels that `semcache eval` reads, as pairs of compared texts.

    Args:
        path: a file or a folder.
        on_skipped: called with a sentence for each record that is left out: a side is empty, or the conversations
            before the last prompts differ, so that the cache would never compare them.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    pairs = []
    for pair in load_pairs(path, on_skipped=on_skipped):
        if _earlier(pair.stored) != _earlier(pair.asked):
            on_skipped(f"{pair.pair_id} is left out: the conversations before its last prompts differ.")
            continue
        pairs.append(TextPair(pair.stored[-1]["content"], pair.asked[-1]["content"], pair.same))
    return tuple(pairs)


def _earlier(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    return [dict(message) for message in messages[:-1]]


def check_pairs(pairs: Iterable[TextPair], groups: Iterable[Group]) -> None:
    """Check that no two labels contradict each other.

    Raises:
        InvalidRequestError: BAD_FILE: two texts have one answer by one label and two answers by another.
    """
    labels = _labels_of_groups(groups)
    by_pairs: dict[frozenset[str], bool] = {}
    for pair in pairs:
        sides = frozenset((folded(pair.first), folded(pair.second)))
        by_group = labels(sides)
        if by_pairs.setdefault(sides, pair.same) != pair.same or by_group is (not pair.same):
            raise InvalidRequestError(
                f"The labels of {pair.first[:60]!r} and {pair.second[:60]!r} contradict each other.",
                hint="Keep one of them: one answer serves both texts, or it doesn't.",
                reason="BAD_FILE",
            )


def _labels_of_groups(groups: Iterable[Group]) -> Callable[[frozenset[str]], bool | None]:
    """Return a function that says whether groups give two folded texts one answer; None where they don't say it.

    Texts of one group have one answer. Texts of two groups have two, and so have a text of a group and its trap.
    """
    owner: dict[str, str] = {}
    traps: dict[str, set[str]] = {}
    for group in groups:
        owner |= {folded(text): group.group_id for text in group.texts}
        for trap in group.traps:
            traps.setdefault(folded(trap), set()).add(group.group_id)

    def label(sides: frozenset[str]) -> bool | None:
        if len(sides) != 2:
            return None
        first, second = sides
        owners = owner.get(first), owner.get(second)
        if None not in owners:
            return owners[0] == owners[1]
        is_trap = owners[0] in traps.get(second, ()) or owners[1] in traps.get(first, ())
        return False if is_trap else None

    return label


@dataclass(frozen=True, slots=True)
class PairDivision:
    """Pairs in three parts.

    Attributes:
        trained: to train on.
        held: held back.
        left_out: neither: texts connect them both with groups to train on and with groups that are held back.
    """

    trained: tuple[TextPair, ...]
    held: tuple[TextPair, ...]
    left_out: tuple[TextPair, ...]


def divide_pairs(pairs: Sequence[TextPair], division: Division, share: float, seed: int) -> PairDivision:
    """Return the pairs to train on and those that are held back, so that no text is on both sides.

    Pairs that share a text stay together. With them go those that share a text or a trap with a group: to its side.
    The others are drawn.

    Args:
        pairs: all pairs.
        division: the groups to train on and those that are held back.
        share: about how much of the pairs is held back, from 0 to 1.
        seed: of the draw.
    """
    joined = Joined[str]()
    for pair in pairs:
        joined.join(folded(pair.first), folded(pair.second))
    names = sorted({joined.root(folded(pair.first)) for pair in pairs})
    trained = _roots_of(division.trained, joined)
    held = _roots_of((*division.domains, *division.groups), joined)
    both = trained & held
    free = [name for name in names if name not in trained | held]
    chance = random.Random(f"held back/{seed}")  # noqa: S311 - a draw that can be repeated
    wanted = max(round(share * len(names)) - len(held - both), 0)
    held |= set(chance.sample(free, min(wanted, len(free))))
    parts: tuple[list[TextPair], list[TextPair], list[TextPair]] = ([], [], [])
    for pair in pairs:
        name = joined.root(folded(pair.first))
        parts[2 if name in both else int(name in held)].append(pair)
    return PairDivision(*map(tuple, parts))


def _roots_of(groups: Iterable[Group], joined: Joined[str]) -> set[str]:
    """Return the names of connected pairs that have a text or a trap of the groups."""
    return {joined.root(text) for group in groups for text in map(folded, group.all_texts) if text in joined}
