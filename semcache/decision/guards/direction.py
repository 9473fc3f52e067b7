"""Compare direction: Celsius to Fahrenheit isn't Fahrenheit to Celsius, "does A eat B" isn't "does B eat A".

Evidence: such an exchange keeps a cosine of .995. Of PAWS's pairs with equal words in another order 72 % are traps.
Moved words therefore lower the score. They veto only where they also exchange their "from" and "to".

Two kinds of movement are no trap. A part may move as a whole: "In Python, how do I …" and "How do I … in Python" are
one request. And on Banking77, short questions with moved words are one request too.
"""

from __future__ import annotations

from semcache.decision.guards.guard import MAX_LEFT_OVER, PENALTY, moved, passed, vetoed
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
"""Links that point in opposite directions."""
_MIN_WORDS = 4
"""Matched words below which another order says nothing: a short question can put its words in several orders."""


class DirectionGuard:
    """Lowers or vetoes texts whose common words have exchanged places."""

    name = "direction"
    feature = "direction/2"
    max_lift = 0.0
    passes_equal = False

    def read(self, text: Text) -> tuple[str, ...]:
        """Return the figures in order, by kind: "7th of 77" isn't "77th of 7", and so with dates and times."""
        numbers = text.numbers
        bare = (number for number in numbers.bare if number[0] != MAYBE)
        return (*bare, *numbers.quantities, *numbers.dates, *numbers.times, *numbers.identifiers)

    def compare(self, pair: Pair) -> GuardVerdict:
        """Judge the order of the words and numbers that both texts have."""
        asked, stored = pair.features(self.feature)
        alignment = pair.alignment
        exchanged = exchanged_links(alignment)
        if alignment.moved and len(exchanged) > 1 and not alignment.unmatched_count:
            return vetoed(self.name, f"{exchanged[0]} and {exchanged[1]} change places")
        same_words = not alignment.unmatched_count
        if alignment.unmatched_count <= MAX_LEFT_OVER and asked != stored and sorted(asked) == sorted(stored):
            return moved(self.name, -PENALTY, "the same figures in another order")
        if same_words and alignment.moved and pair.asked.stance.skeleton == pair.stored.stance.skeleton:
            return moved(self.name, -PENALTY, "the same words have changed places")
        if len(alignment.order) < max(_MIN_WORDS, 3 * alignment.unmatched_count):
            return passed(self.name)  # Another wording, or a few words, may have another order and the same meaning.
        if exchanged:
            return moved(self.name, -PENALTY, f"{exchanged[0]} in the request, another link in the entry")
        if alignment.moved and not pair.is_phrase_moved:
            return moved(self.name, -PENALTY, "the same words in another order")
        return passed(self.name)


def exchanged_links(alignment: Alignment) -> list[str]:
    """Return the words whose link is opposed to the other text's link: "from Paris" against "to Paris"."""
    return [
        f"{asked.link} {asked.folded}"
        for asked, stored in alignment.relinked
        if frozenset({asked.link, stored.link}) in _OPPOSED
    ]
