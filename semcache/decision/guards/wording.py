"""Wording: near repeats (case, punctuation, white space, slips of the keyboard, a part that moved) are told as such.

Evidence: typos take a cosine down to .7 and below, where most traps lie above; about 84 of fow-cache's 300 hits are
near repeats. Words are aligned, slips forgiven where one side is no word; a number, a name, a negation, another
question word, another order or another link is never forgiven. Of the pairs so recognised in PAWS, Banking77,
SemAntoNeg and the Korean set fewer than 5 % are traps.
"""

from __future__ import annotations

from semcache.decision.guards.direction import exchanged_links
from semcache.decision.guards.guard import PENALTY, moved, passed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.alignment import MAX_WORDS
from semcache.text.stance import asks_alike, conflict
from semcache.text.texts import Text

LIFT = 0.3
"""Brings a near repeat over the shipped threshold from a cosine of .67 on."""
SYNONYM_LIFT = 0.15
"""Where a word is replaced by one that the table of synonyms knows, the cosine has to say more itself."""
_FEWEST_WORDS = 2
"""One word in common is no evidence: "Reset?" and "reset it"."""


class WordingGuard:
    """See the module."""

    name = "wording"
    version = 2
    most = LIFT
    passes_equal = False

    def parse(self, text: Text) -> tuple[str, ...]:
        """All that is compared to the letter, each kind in order: figures, code tokens, marked code, signs."""
        figures = text.figures
        kinds = (figures.dates, figures.times, figures.identifiers, figures.quantities, figures.numbers)
        exact = [figure for kind in kinds for figure in kind]
        return (*exact, *text.code_tokens, *text.marked_code, text.signs)

    def compare(self, pair: Pair) -> GuardVerdict:
        """Raise the score of a near repeat; lower it where the same words ask otherwise."""
        alignment = pair.alignment
        if alignment.left_over > 1:
            return passed(self.name)
        otherwise = conflict(pair.asked.stance, pair.stored.stance)
        if otherwise:
            return moved(self.name, -PENALTY, otherwise)
        if alignment.left_over:
            return passed(self.name)
        exact, stored_exact = pair.parses(self)
        near = (
            not pair.reversed
            and asks_alike(pair.asked.stance, pair.stored.stance)
            and _FEWEST_WORDS <= len(alignment.order) < MAX_WORDS
            and (not alignment.moved or (alignment.rotated and pair.asked.stance.frame != pair.stored.stance.frame))
            and not exchanged_links(alignment)
            and exact == stored_exact
            and pair.asked.stance.small_words(alignment.moved) == pair.stored.stance.small_words(alignment.moved)
            and len(alignment.synonyms) <= 1
        )
        if not near:
            return passed(self.name)
        lift = LIFT if alignment.inflected and not alignment.synonyms else SYNONYM_LIFT
        for one, other in alignment.synonyms or alignment.slips[:1]:
            return moved(self.name, lift, f"a near repeat, {one.folded} for {other.folded}")
        return moved(self.name, lift, "a near repeat")
