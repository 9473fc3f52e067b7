"""Read labelled pairs of prompts to train on, and hold some of them back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.files import load_pairs
from semcache.training.batches import TextPair
from semcache.training.groups import Group


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
    owner = {folded(text): group.group_id for group in groups for text in group.texts}
    labels: dict[frozenset[str], bool] = {}
    for pair in pairs:
        sides = frozenset((folded(pair.first), folded(pair.second)))
        label = labels.setdefault(sides, pair.same)
        by_group = {owner.get(side) for side in sides} if len(sides) == 2 else {None}
        in_one_group = len(by_group) == 1 and None not in by_group
        if label != pair.same or (in_one_group and not pair.same):
            raise InvalidRequestError(
                f"The labels of {pair.first[:60]!r} and {pair.second[:60]!r} contradict each other.",
                hint="Keep one of them: one answer serves both texts, or it doesn't.",
                reason="BAD_FILE",
            )


def folded(text: str) -> str:
    """Return a text without case and without more than one space: texts that are equal then are one text."""
    return " ".join(text.casefold().split())


def divide_pairs(
    pairs: Sequence[TextPair], share: float, seed: int
) -> tuple[tuple[TextPair, ...], tuple[TextPair, ...]]:
    """Return the pairs to train on and those that are held back. Pairs that share a text are on one side.

    Args:
        pairs: all pairs.
        share: about how much of them is held back, from 0 to 1.
        seed: of the draw.
    """
    roots: dict[str, str] = {}

    def root(text: str) -> str:
        while roots.setdefault(text, text) != text:
            text = roots[text]
        return text

    for pair in pairs:
        roots[root(folded(pair.second))] = root(folded(pair.first))
    names = sorted({root(folded(pair.first)) for pair in pairs})
    chance = random.Random(f"held back/{seed}")  # noqa: S311 - a draw that can be repeated
    held = set(chance.sample(names, round(share * len(names))))
    parts: tuple[list[TextPair], list[TextPair]] = ([], [])
    for pair in pairs:
        parts[root(folded(pair.first)) in held].append(pair)
    return tuple(parts[0]), tuple(parts[1])
