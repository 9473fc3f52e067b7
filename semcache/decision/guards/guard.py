"""The interface of a guard, and the verdicts that guards have in common."""

from __future__ import annotations

from functools import cache
from typing import Protocol

from semcache.decision.pair import Pair
from semcache.decision.reading import Reader
from semcache.model import Effect, GuardVerdict
from semcache.text.numbers import unmatched
from semcache.text.texts import Text

PENALTY = 0.2
"""Cosine that a likely difference takes from a score.

It is more than lies between the shipped threshold and 1, so that such a candidate isn't served there, nor at any other
threshold above .8. At .05 the threshold had to stay at .97, and texts that are worded anew were hardly ever served.
"""
MAX_LEFT_OVER = 4
"""Words without a counterpart up to which two texts are nearly the same, so that another figure is another request."""
_OTHER_WORDING = 2
"""Words without a counterpart above which a text is another wording: such a text may give a value in words."""
_MAX_DETAIL_CHARS = 200


class Guard(Reader, Protocol):
    """Checks two texts for one kind of difference that changes the answer."""

    @property
    def name(self) -> str:
        """The name by which callers, logs and metrics know the guard."""
        ...

    @property
    def max_lift(self) -> float:
        """The most that the guard can add to a score, in units of the cosine; 0 for a guard that never adds."""
        ...

    @property
    def passes_equal(self) -> bool:
        """Whether the guard always passes two texts with equal features; the decision doesn't ask it about them."""
        ...

    def compare(self, pair: Pair) -> GuardVerdict:
        """Return the verdict on a request and an entry."""
        ...


@cache
def passed(name: str) -> GuardVerdict:
    """Return the verdict of a guard that finds no difference."""
    return GuardVerdict(name, Effect.PASS)


def vetoed(name: str, detail: str) -> GuardVerdict:
    """Return the verdict that the texts need different answers."""
    return GuardVerdict(name, Effect.VETO, detail[:_MAX_DETAIL_CHARS])


def moved(name: str, adjustment: float, detail: str) -> GuardVerdict:
    """Return evidence that one answer fits both texts (adjustment above 0) or doesn't (below 0)."""
    return GuardVerdict(name, Effect.FEATURE, detail[:_MAX_DETAIL_CHARS], adjustment)


def judge_difference(name: str, asked_only: list[str], stored_only: list[str], pair: Pair) -> GuardVerdict:
    """Return the verdict on values that only the request or only the entry has.

    - Both have such values: a veto where the rest is nearly the same; else the score is lowered.
    - One has, and all words have counterparts: a veto.
    - One has, and few words have no counterpart: the score is lowered.
    - One has, and the wording is another: passed, since the other text may express the value in words.
    """
    if not asked_only and not stored_only:
        return passed(name)
    detail = f"request has {', '.join(asked_only) or 'none'}, entry has {', '.join(stored_only) or 'none'}"
    if asked_only and stored_only:
        left_over = pair.alignment.unmatched_count
        return vetoed(name, detail) if left_over <= MAX_LEFT_OVER else moved(name, -PENALTY, detail)
    return judge_by_wording(name, detail, pair)


def judge_by_wording(name: str, detail: str, pair: Pair) -> GuardVerdict:
    """Return the verdict on a difference that another wording may express in words.

    - All words have counterparts: a veto.
    - Few words have no counterpart: the score is lowered.
    - The wording is another: passed.
    """
    left_over = pair.alignment.unmatched_count
    if not left_over:
        return vetoed(name, detail)
    if left_over > _OTHER_WORDING:
        return passed(name)
    return moved(name, -PENALTY, detail)


class ValuesGuard:
    """A guard whose feature is a list of values, each of which both texts must have."""

    name: str
    feature: str
    max_lift = 0.0
    passes_equal = True

    def compare(self, pair: Pair) -> GuardVerdict:
        """Judge the values that only one text has, by `judge_difference`."""
        asked, stored = pair.features(self.feature)
        return judge_difference(self.name, unmatched(asked, stored), unmatched(stored, asked), pair)


class WordsGuard:
    """A guard that needs only what every reading has: the content words and the stance."""

    name: str
    feature: str
    max_lift = 0.0
    passes_equal = False

    def read(self, text: Text) -> tuple[str, ...]:
        """Return nothing: the guard has no feature of its own."""
        del text
        return ()
