"""Words that turn a request into its opposite: antonyms, and negative forms that carry their own negation."""

from __future__ import annotations

from collections.abc import Mapping

from semcache.text.lexicon import is_common, stem, unaccented
from semcache.text.tables import groups, words

_NEGATIVE_FORMS = words("negative_forms")
_NOT_NEGATIVE = words("not_negative")
_LESS_FORMS = words("less_forms")


def _antonyms() -> Mapping[str, frozenset[str]]:
    antonyms: dict[str, set[str]] = {}
    for first, second in groups("antonyms"):
        for word, antonym in ((first, second), (second, first)):
            antonyms.setdefault(unaccented(word), set()).add(unaccented(antonym))
            antonyms.setdefault(stem(word), set()).add(stem(antonym))
    return {word: frozenset(opposites) for word, opposites in antonyms.items()}


_ANTONYMS = _antonyms()


def are_opposites(first: str, second: str) -> bool:
    """Return whether two folded words, or two stems, are opposites."""
    return second in _ANTONYMS.get(first, ())


def positive_form(word: str) -> str:
    """Return a word without the negation in it, "acceptable" for "unacceptable"; empty if it has no negation."""
    if word in _NEGATIVE_FORMS:
        return word[3:] if word.startswith(("dis", "non")) else word[2:]
    if word in _LESS_FORMS:
        return f"{word[:-4]}ful"
    prefix = next((prefix for prefix in ("un", "non") if word.startswith(prefix)), "")
    base = word.removeprefix(prefix)
    return base if prefix and len(base) > 3 and word not in _NOT_NEGATIVE and is_common(base) else ""
