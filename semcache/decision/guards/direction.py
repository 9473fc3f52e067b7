"""Direction: Celsius to Fahrenheit isn't Fahrenheit to Celsius, "does A eat B" isn't "does B eat A".

Evidence: such a swap keeps a cosine of .995. Of PAWS's pairs with equal words in another order 72 % are traps: moved
words lower the score; they veto only where they also exchange their "from" and "to". A part that moved as a whole ("In
Python, how do I …" and "How do I … in Python") is the same request, and so, on Banking77, is a short question whose
words moved.
"""

from __future__ import annotations

from semcache.decision.guards.guard import PENALTY, moved, passed, vetoed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.alignment import Alignment
from semcache.text.numbers import MAYBE
from semcache.text.texts import Text

_OPPOSED = {
    frozenset(pair.split("/"))
    for pair in [
        "from/to",
        "before/after",
        "over/under",
        "into/from",
        "by/to",
        "from/by",
        "in/from",
        "from/at",
        "with/against",
        "for/against",
    ]
}


_FEWEST_WORDS = 4


class DirectionGuard:
    """See the module."""

    name = "direction"
    version = 1
    most = 0.0
    passes_equal = False

    def parse(self, text: Text) -> tuple[str, ...]:
        """The figures in their order: "7th of 77" isn't "77th of 7"."""
        figures = text.figures
        return (*(number for number in figures.numbers if number[0] != MAYBE), *figures.quantities)

    def compare(self, pair: Pair) -> GuardVerdict:
        """Judge the order of words and figures that both sides have."""
        asked, stored = pair.parses(self)
        alignment = pair.alignment
        exchanged = exchanged_links(alignment)
        if alignment.moved and len(exchanged) > 1 and not alignment.left_over:
            return vetoed(self.name, f"{exchanged[0]} and {exchanged[1]} change places")
        same_words = not alignment.left_over
        if same_words and asked != stored and sorted(asked) == sorted(stored):
            return moved(self.name, -PENALTY, "the same figures in another order")
        if same_words and alignment.moved and pair.asked.stance.frame == pair.stored.stance.frame:
            return moved(self.name, -PENALTY, "the same words have changed places")
        if len(alignment.order) < max(_FEWEST_WORDS, 3 * alignment.left_over):
            return passed(self.name)  # Another wording puts words in another order, and so do a few words.
        if exchanged:
            return moved(self.name, -PENALTY, f"{exchanged[0]} in the request, another link in the entry")
        if alignment.moved and not alignment.rotated:
            return moved(self.name, -PENALTY, "the same words in another order")
        return passed(self.name)


def exchanged_links(alignment: Alignment) -> list[str]:
    """Words whose link is the opposite of the other side's: "from Paris" and "to Paris"."""
    return [
        f"{one.link} {one.folded}" for one, other in alignment.relinked if frozenset({one.link, other.link}) in _OPPOSED
    ]
