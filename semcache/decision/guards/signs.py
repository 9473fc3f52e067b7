"""Compare signs: "C++" isn't "C", "price > 5" isn't "price < 5", "3 + 4 − 2" isn't "3 − 4 + 2".

Evidence: the tokenizer of an embedding model drops or blurs signs, so that such pairs have a cosine above .98. Where
all words have counterparts, other signs ask something else. Punctuation, and an emoji at the end, say nothing.
"""

from __future__ import annotations

from semcache.decision.guards.guard import judge_by_wording, passed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.texts import Text


class SignsGuard:
    """Vetoes other signs between the same words."""

    name = "signs"
    feature = "signs/1"
    max_lift = 0.0
    passes_equal = True

    def read(self, text: Text) -> tuple[str, ...]:
        """Return the signs in order, then the emoji at the end of the text; nothing where there is neither."""
        signs, emoji = text.signs, text.closing_emoji
        return (signs, emoji) if signs or emoji else ()

    def compare(self, pair: Pair) -> GuardVerdict:
        """Judge other signs by `judge_by_wording`."""
        (signs, emoji), (stored_signs, stored_emoji) = (side or ("", "") for side in pair.features(self.feature))
        if signs == stored_signs and (emoji == stored_emoji or not emoji or not stored_emoji):
            return passed(self.name)
        detail = f"request has {signs + emoji or 'none'}, entry has {stored_signs + stored_emoji or 'none'}"
        return judge_by_wording(self.name, detail, pair)
