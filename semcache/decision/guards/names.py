"""Names: a flight to Boston isn't a flight to Austin.

Evidence: with one name in place of another the cosine stays above .9 (entity swaps are a quarter of fow-cache's traps,
and no true pair there has them; 1.2 % of PAWS's do). A name is a word with a capital inside a sentence; it vetoes
where it stands in place of another name and all else matches.
"""

from __future__ import annotations

from semcache.decision.guards.guard import PENALTY, WordsGuard, moved, passed, vetoed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict

_MOST_OTHERS = 2
_COMMON_BEGINNING = 4


class NamesGuard(WordsGuard):
    """See the module."""

    name = "names"
    version = 1

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when a name stands in place of another."""
        alignment = pair.alignment
        asked = [word.folded for word in alignment.asked_only if word.named]
        stored = [word.folded for word in alignment.stored_only if word.named]
        if not asked or not stored or any(_related(one, other) for one in asked for other in stored):
            return passed(self.name)
        detail = f"request names {asked[0]}, entry names {stored[0]}"
        if alignment.left_over <= _MOST_OTHERS:
            return vetoed(self.name, detail)
        return moved(self.name, -PENALTY, detail)


def _related(one: str, other: str) -> bool:
    """Whether two names are forms of one: Germany and German."""
    return one[:_COMMON_BEGINNING] == other[:_COMMON_BEGINNING] and min(len(one), len(other)) >= _COMMON_BEGINNING
