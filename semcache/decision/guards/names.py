"""Compare names: a flight to Boston isn't a flight to Austin.

Evidence: with another name the cosine stays above .9. Exchanged names are a quarter of fow-cache's traps, and none of
its true pairs has one; 1.2 % of PAWS's true pairs have one (benchmarks/README.md). A name is a word with a capital
inside a sentence. It vetoes where it replaces another name and the rest matches. Two forms of one name ("German",
"Germany") are no other name, unless they stand in exchanged places.
"""

from __future__ import annotations

from semcache.decision.guards.guard import PENALTY, WordsGuard, moved, passed, vetoed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.content import Word

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
        asked = [word for word in alignment.asked_only if word.is_name]
        stored = [word for word in alignment.stored_only if word.is_name]
        if not asked or not stored:
            return passed(self.name)
        related = [
            _is_in_place(first, second, is_same_rank=rank == other_rank)
            for rank, first in enumerate(asked)
            for other_rank, second in enumerate(stored)
            if _are_related(first.folded, second.folded)
        ]
        if any(related):
            return passed(self.name)
        detail = f"request names {asked[0].folded}, entry names {stored[0].folded}"
        if alignment.unmatched_count <= _MAX_UNMATCHED:
            return vetoed(self.name, detail)
        return moved(self.name, -PENALTY, detail)


def _is_in_place(asked: Word, stored: Word, *, is_same_rank: bool) -> bool:
    """Return whether two forms of one name do the same in their texts: by their links, else by rank among the names."""
    return asked.link == stored.link if asked.link and stored.link else is_same_rank


def _are_related(first: str, second: str) -> bool:
    """Return whether two names are forms of one name: Germany and German."""
    return first[:_COMMON_BEGINNING] == second[:_COMMON_BEGINNING] and min(len(first), len(second)) >= _COMMON_BEGINNING
