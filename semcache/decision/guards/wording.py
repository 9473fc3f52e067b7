"""Recognise near repeats: texts that differ in case, punctuation, white space, typing slips, or a part that moved.

Evidence: typing slips lower a cosine to .7 and less, where most traps are above. About 84 of fow-cache's 300 hits are
near repeats. The words of the texts are aligned, and a slip is forgiven where one of the words is no English word. A
number, a name, a negation, another question word, another order or another link is never forgiven. Of the pairs
recognised in PAWS, Banking77, SemAntoNeg and the Korean set fewer than 5 % are traps.
"""

from __future__ import annotations

from semcache.decision.guards.direction import exchanged_links
from semcache.decision.guards.guard import PENALTY, moved, passed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.alignment import MAX_WORDS
from semcache.text.stance import describe_conflict, questions_agree
from semcache.text.texts import Text

LIFT = 0.3
"""Cosine added for a near repeat: it passes the shipped threshold from a cosine of .67 on."""
SYNONYM_LIFT = 0.15
"""Cosine added where a synonym replaces a word: less, so that the cosine itself has to be higher."""
_MIN_WORDS = 2
"""Matched words that a near repeat needs: one word is no evidence ("Reset?" and "reset it")."""


class WordingGuard:
    """Raises the score of near repeats, and lowers it where the same words ask something else."""

    name = "wording"
    feature = "wording/2"
    max_lift = LIFT
    passes_equal = False

    def read(self, text: Text) -> tuple[str, ...]:
        """Return all that must be exactly equal, in order by kind: numbers, code tokens, marked code and signs."""
        numbers = text.numbers
        kinds = (numbers.dates, numbers.times, numbers.identifiers, numbers.quantities, numbers.bare)
        values = [value for kind in kinds for value in kind]
        return (*values, *text.code_tokens, *text.marked_code, text.signs)

    def compare(self, pair: Pair) -> GuardVerdict:
        """Raise the score of a near repeat; lower it where small words contradict each other."""
        alignment = pair.alignment
        if alignment.unmatched_count > 1:
            return passed(self.name)
        conflict = describe_conflict(pair.asked.stance, pair.stored.stance)
        if conflict:
            return moved(self.name, -PENALTY, conflict)
        if alignment.unmatched_count or not self._is_near_repeat(pair):
            return passed(self.name)
        lift = LIFT if alignment.is_inflected and not alignment.synonyms else SYNONYM_LIFT
        for asked, stored in alignment.synonyms or alignment.slips[:1]:
            return moved(self.name, lift, f"a near repeat, {asked.folded} for {stored.folded}")
        return moved(self.name, lift, "a near repeat")

    def _is_near_repeat(self, pair: Pair) -> bool:
        """Return whether two texts whose content words all have counterparts differ in nothing that matters."""
        alignment = pair.alignment
        asked, stored = pair.features(self.feature)
        return (
            not pair.is_reversed
            and questions_agree(pair.asked.stance, pair.stored.stance)
            and _MIN_WORDS <= len(alignment.order) < MAX_WORDS
            and (not alignment.moved or (alignment.is_rotated and pair.asked.stance.frame != pair.stored.stance.frame))
            and not exchanged_links(alignment)
            and asked == stored
            and _small_words_agree(pair)
            and len(alignment.synonyms) <= 1
        )


def _small_words_agree(pair: Pair) -> bool:
    """Return whether both texts have the same small words, in the same order unless a part of the text moved."""
    asked, stored = pair.asked.stance.small_words.split(), pair.stored.stance.small_words.split()
    return sorted(asked) == sorted(stored) if pair.alignment.moved else asked == stored
