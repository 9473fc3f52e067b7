"""Negation and antonyms: "cancel it" isn't "don't cancel it", "enable" isn't "disable", "not good" is "bad".

Evidence: opposites score a median cosine of .81, paraphrases .64 (SemAntoNeg). A naive rule (a negation word on one
side only) vetoed 35 % of true pairs among medical questions and 97 % of SemAntoNeg's. So all reversals are counted
together (negation words, negative forms, antonyms that stand for each other), and an odd count vetoes only where
everything else matches and both ask in the same way: "I can't find my PIN" and "How do I find my PIN?" are one request.
"""

from __future__ import annotations

from semcache.decision.guards.guard import PENALTY, WordsGuard, moved, passed, vetoed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict


class PolarityGuard(WordsGuard):
    """See the module."""

    name = "polarity"
    version = 1

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when an odd number of reversals lies between two texts that are otherwise the same."""
        alignment = pair.alignment
        if not pair.reversed:
            return passed(self.name)
        if alignment.opposites:
            one, other = alignment.opposites[0]
            detail = f"request says {one.folded}, entry says {other.folded}"
        else:
            detail = f"only {'the request' if pair.asked.stance.negated else 'the entry'} is negated"
        if not alignment.left_over and pair.asked.stance.asks == pair.stored.stance.asks:
            return vetoed(self.name, detail)
        if alignment.left_over > 1:
            return passed(self.name)  # One of the words left over may be an opposite that the table doesn't know.
        return moved(self.name, -PENALTY, detail)
