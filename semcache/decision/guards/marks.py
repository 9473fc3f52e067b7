"""Compare the marks of letters: "drücken" isn't "drucken", "secretaría" isn't "secretaria", "sinh tố dừa" isn't "dứa".

Evidence: the tokenizer of the shipped embedder drops accents, umlauts and tones, so that such pairs have a cosine of 1.
In English a mark says nothing ("cafe", "café"). In other languages two words that differ in their marks are two words,
unless one text leaves out its marks altogether, as many people do who type without them.
"""

from __future__ import annotations

from semcache.decision.guards.guard import passed, vetoed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.marks import is_clearly_english, marked_words, unmarked
from semcache.text.texts import Text

_ENGLISH = "=en"
_ENOUGH_LEFT_OUT = 2
"""Words without their marks from which on a text leaves out its marks. A single one may be another word."""


class MarksGuard:
    """Vetoes a word that differs from its counterpart in a mark."""

    name = "marks"
    feature = "marks/1"
    max_lift = 0.0
    passes_equal = True

    def read(self, text: Text) -> tuple[str, ...]:
        """Return the words with marks, folded, in order; before them "=en" if the text is clearly English."""
        if text.plain.isascii():
            return ()
        marked = marked_words(text.words)
        return (_ENGLISH, *marked) if marked and is_clearly_english(text.words) else marked

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto a word whose marks differ, unless one text has no marks where the other has several."""
        asked, stored = pair.features(self.feature)
        if all(words[:1] == (_ENGLISH,) for words in (asked, stored) if words):
            return passed(self.name)
        changed = [*_changed(asked, stored, pair.stored.plain_words), *_changed(stored, asked, pair.asked.plain_words)]
        if not changed or ((not asked or not stored) and len(changed) >= _ENOUGH_LEFT_OUT):
            return passed(self.name)
        return vetoed(self.name, f"one side writes {changed[0]}, the other writes it with other marks")


def _changed(words: tuple[str, ...], others: tuple[str, ...], other_plain: frozenset[str]) -> list[str]:
    """Return the words that the other text has with other marks, or without."""
    same, plain = frozenset(others), other_plain.union(map(unmarked, others))
    writes_yo = any("ё" in other for other in others)
    return [
        word
        for word in words
        if word not in same and unmarked(word) in plain and (writes_yo or "ё" not in word)  # Most people write "е".
    ]
