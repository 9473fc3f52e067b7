"""Hold labels back from training, and measure how well cosines rank them before and after it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.training.batches import TextPair
from semcache.training.groups import Group

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Turns texts into unit vectors (texts, dimension)."""
_LARGEST_DOMAIN = 0.5
"""Part of what is held back that a domain may have to be held back whole: a larger one would be all of it."""
_PASS_TEXTS = 256
TRAP_SHARE = 0.05
"""Share of traps at which the served hits are told."""


@dataclass(frozen=True, slots=True)
class Division:
    """Groups in three parts.

    Attributes:
        trained: to train on.
        domains: whole domains that no training group has.
        groups: single groups of domains that training groups have too.
    """

    trained: tuple[Group, ...]
    domains: tuple[Group, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class RankingFigures:
    """How well cosines rank labelled pairs.

    Attributes:
        hits: pairs with one answer.
        traps: pairs with two.
        auc: probability that a hit has a higher cosine than a trap; None without pairs of both kinds.
        hits_served: share of hits above the cosine that 5 % of traps reach; None as `auc`.
    """

    hits: int
    traps: int
    auc: float | None
    hits_served: float | None


def divide(groups: Sequence[Group], share: float, seed: int) -> Division:
    """Hold a share of the groups back: half of it as whole domains, where there are several, the rest by group.

    Args:
        groups: all groups.
        share: of the groups, 0 for none.
        seed: of the draw.
    """
    wanted = round(share * len(groups))
    chance = random.Random(f"held back/{seed}")  # noqa: S311 - a draw that can be repeated
    by_domain: dict[str, list[Group]] = {}
    for group in groups:
        by_domain.setdefault(group.domain, []).append(group)
    names = sorted(by_domain)
    chance.shuffle(names)
    whole: list[Group] = []
    for name in names if len(names) > 2 else ():
        small = len(by_domain[name]) <= _LARGEST_DOMAIN * wanted
        if small and len(whole) + len(by_domain[name]) <= (wanted + 1) // 2:
            whole += by_domain[name]
    held = {group.group_id for group in whole}
    rest = [group for group in groups if group.group_id not in held]
    single = chance.sample(rest, min(max(wanted - len(whole), 0), max(len(rest) - 1, 0)))
    held |= {group.group_id for group in single}
    return Division(tuple(group for group in groups if group.group_id not in held), tuple(whole), tuple(single))


def pairs_of(groups: Sequence[Group]) -> tuple[TextPair, ...]:
    """Return the labelled pairs within groups: two texts, and the first text and a trap."""
    pairs: list[TextPair] = []
    for group in groups:
        for place, text in enumerate(group.texts):
            pairs += [TextPair(text, other, same=True) for other in group.texts[place + 1 :]]
            pairs += [TextPair(text, trap, same=False) for trap in group.traps]
    return tuple(pairs)


def measure(pairs: Sequence[TextPair], embed: Embed) -> RankingFigures:
    """Return how well cosines rank pairs.

    Args:
        pairs: with labels.
        embed: the model.
    """
    same = np.array([pair.same for pair in pairs], dtype=np.bool_)
    hits, traps = int(same.sum()), int((~same).sum())
    if not hits or not traps:
        return RankingFigures(hits, traps, None, None)
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.first, pair.second)))
    texts.sort(key=len)
    vectors = np.concatenate([embed(texts[start : start + _PASS_TEXTS]) for start in range(0, len(texts), _PASS_TEXTS)])
    places = {text: place for place, text in enumerate(texts)}
    first = vectors[[places[pair.first] for pair in pairs]]
    second = vectors[[places[pair.second] for pair in pairs]]
    cosines = (first * second).sum(1)
    least = np.quantile(cosines[~same], 1 - TRAP_SHARE)
    return RankingFigures(hits, traps, _area(cosines, same), float((cosines[same] > least).mean()))


def _area(scores: NDArray[np.float32], same: NDArray[np.bool_]) -> float:
    """Return the area under the curve; equal scores count half."""
    traps = np.sort(scores[~same])
    below = np.searchsorted(traps, scores[same], side="left")
    up_to = np.searchsorted(traps, scores[same], side="right")
    return float((below + up_to).mean() / (2 * len(traps)))
