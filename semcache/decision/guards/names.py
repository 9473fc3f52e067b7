"""Compare names: a flight to Boston isn't a flight to Austin.

Evidence: with another name the cosine stays above .9. Exchanged names are a quarter of fow-cache's traps, and none of
its true pairs has one; 1.2 % of PAWS's true pairs have one (benchmarks/README.md). A name is a word with a capital
inside a sentence. It vetoes where it replaces another name and the rest matches.
"""

from __future__ import annotations

from semcache.decision.guards.guard import PENALTY, WordsGuard, moved, passed, vetoed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict

_MAX_UNMATCHED = 2
"""Words without a counterpart up to which another name vetoes: the two names themselves."""
_COMMON_BEGINNING = 4
"""Letters at the beginning that two forms of one name share."""


class NamesGuard(WordsGuard):
    """Vetoes another name."""

    name = "names"
    feature = "names/1"

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when one name replaces another and the rest matches; lower the score when more differs."""
        alignment = pair.alignment
        asked = [word.folded for word in alignment.asked_only if word.is_name]
        stored = [word.folded for word in alignment.stored_only if word.is_name]
        if not asked or not stored or any(_are_related(first, second) for first in asked for second in stored):
            return passed(self.name)
        detail = f"request names {asked[0]}, entry names {stored[0]}"
        if alignment.unmatched_count <= _MAX_UNMATCHED:
            return vetoed(self.name, detail)
        return moved(self.name, -PENALTY, detail)


def _are_related(first: str, second: str) -> bool:
    """Return whether two names are forms of one name: Germany and German."""
    return first[:_COMMON_BEGINNING] == second[:_COMMON_BEGINNING] and min(len(first), len(second)) >= _COMMON_BEGINNING
