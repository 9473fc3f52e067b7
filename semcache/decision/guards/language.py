"""Language and script: an answer in German is no answer to the same question in French.

Evidence: multilingual embedders place translations side by side (cosines above .9). The script is certain; the language
is told by small words and counts only where it is clear on both sides: two of them, and thrice those of all others.
"""

from __future__ import annotations

from semcache.decision.guards.guard import passed, vetoed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.texts import Text

_CLEAR = 2
_TIMES = 3


class LanguageGuard:
    """See the module."""

    name = "language"
    version = 1
    most = 0.0
    passes_equal = True

    def parse(self, text: Text) -> tuple[str, ...]:
        """The language, empty where it isn't clear; the script that most is written in; all scripts."""
        scores = text.language_scores
        language = text.language
        ours = scores.get(language, 0)
        clear = ours >= max(_CLEAR, _TIMES * (sum(scores.values()) - ours))
        return (language if clear else "", text.script, *sorted(text.scripts))

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when script or language differ for certain."""
        (language, script, *scripts), (stored_language, stored_script, *stored_scripts) = pair.parses(self)
        if language and stored_language and language != stored_language:
            return vetoed(self.name, f"the request is {language}, the entry {stored_language}")
        if script and stored_script and script not in stored_scripts and stored_script not in scripts:
            return vetoed(self.name, f"the request is written in {script}, the entry in {stored_script}")
        return passed(self.name)
