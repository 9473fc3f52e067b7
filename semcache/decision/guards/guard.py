"""What a guard is, and the amounts by which guards move a score."""

from __future__ import annotations

from functools import cache
from typing import Protocol

from semcache.decision.pair import Pair, Parser
from semcache.model import Effect, GuardVerdict
from semcache.text.numbers import unmatched
from semcache.text.texts import Text

PENALTY = 0.05
"""What a likely difference takes from a score: more than lies between the shipped threshold and 1, so that a candidate
with one isn't served there, while a lower threshold still ranks it by its similarity."""


_MUCH_ELSE = 2
"""Words without a counterpart beyond which a text is another wording, in which a figure may be said in words."""


class Guard(Parser, Protocol):
    """One kind of difference that changes the answer."""

    @property
    def name(self) -> str:
        """Reaches the caller, the logs and the metrics."""
        ...

    @property
    def version(self) -> int:
        """Raised when `parse` changes: what was stored by an older one is parsed anew."""
        ...

    @property
    def most(self) -> float:
        """The most that a FEATURE of this guard can add to a score; 0 for one that only lowers or vetoes."""
        ...

    @property
    def passes_equal(self) -> bool:
        """Whether it finds nothing where both parses are the same, whatever else the texts say: it isn't asked then."""
        ...

    def parse(self, text: Text) -> tuple[str, ...]:
        """What of `text` matters to this guard, as plain strings: stored with the entry."""
        ...

    def compare(self, pair: Pair) -> GuardVerdict:
        """Compare a request and an entry."""
        ...


@cache
def passed(name: str) -> GuardVerdict:
    """Nothing found."""
    return GuardVerdict(name, Effect.PASS)


def vetoed(name: str, detail: str) -> GuardVerdict:
    """Another answer, for sure enough."""
    return GuardVerdict(name, Effect.VETO, detail[:200])


def moved(name: str, adjustment: float, detail: str) -> GuardVerdict:
    """Evidence for (above 0) or against (below 0) one answer for both."""
    return GuardVerdict(name, Effect.FEATURE, detail[:200], adjustment)


def differing(name: str, asked_only: list[str], stored_only: list[str], pair: Pair) -> GuardVerdict:
    """The verdict on what each side has alone.

    A veto where both have something, or where one has and all else is the same; evidence against where one has and
    little else differs.
    """
    if not asked_only and not stored_only:
        return passed(name)
    detail = f"request has {', '.join(asked_only) or 'none'}, entry has {', '.join(stored_only) or 'none'}"
    if (asked_only and stored_only) or not pair.alignment.left_over:
        return vetoed(name, detail)
    if pair.alignment.left_over > _MUCH_ELSE:
        return passed(name)
    return moved(name, -PENALTY, detail)


class FiguresGuard:
    """A guard whose parse is one kind of figures, each of which must stand on both sides."""

    name: str
    version: int
    most = 0.0
    passes_equal = True

    def compare(self, pair: Pair) -> GuardVerdict:
        """See `differing`."""
        asked, stored = pair.parses(self)
        return differing(self.name, unmatched(asked, stored), unmatched(stored, asked), pair)


class WordsGuard:
    """A guard that needs nothing but what every pair has: the words' alignment and the stances."""

    name: str
    version: int
    most = 0.0
    passes_equal = False

    def parse(self, text: Text) -> tuple[str, ...]:
        """Nothing of its own."""
        del text
        return ()
