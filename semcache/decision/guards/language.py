"""Compare language and script: an answer in German doesn't answer the same question in French.

Evidence: multilingual embedding models place translations side by side (cosines above .9). The script is certain. The
language is guessed from small words, and counts only where both texts give it clearly.
"""

from __future__ import annotations

from semcache.decision.guards.guard import passed, vetoed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.texts import Text

_MIN_SMALL_WORDS = 2
"""Small words of a language that a text must have for its language to be clear."""
_MIN_RATIO = 3
"""How many times the small words of all other languages together it must have."""


class LanguageGuard:
    """Vetoes another language or script."""

    name = "language"
    feature = "language/1"
    max_lift = 0.0
    passes_equal = True

    def read(self, text: Text) -> tuple[str, ...]:
        """Return the language (empty where it isn't clear), the script of most letters, and all scripts."""
        scores = text.language_scores
        language = text.language
        score = scores.get(language, 0)
        clear = score >= max(_MIN_SMALL_WORDS, _MIN_RATIO * (sum(scores.values()) - score))
        return (language if clear else "", text.script, *sorted(text.scripts))

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when the clear languages differ, or when neither text has letters in the other's main script."""
        (language, script, *scripts), (stored_language, stored_script, *stored_scripts) = pair.features(self.feature)
        if language and stored_language and language != stored_language:
            return vetoed(self.name, f"the request is {language}, the entry {stored_language}")
        if script and stored_script and script not in stored_scripts and stored_script not in scripts:
            return vetoed(self.name, f"the request is written in {script}, the entry in {stored_script}")
        return passed(self.name)
