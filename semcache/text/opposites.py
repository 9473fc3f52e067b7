"""Words that turn a request into its opposite: antonyms, and negative forms that carry their own negation."""

from __future__ import annotations

from collections.abc import Mapping

from semcache.text.lexicon import common, stem, unaccented
from semcache.text.tables import groups, words

_NEGATIVE_FORMS = words("negative_forms")
_NOT_NEGATIVE = words("not_negative")
_LESS_FORMS = words("less_forms")


def _antonyms() -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for one, other in groups("antonyms"):
        for a, b in ((one, other), (other, one)):
            found.setdefault(unaccented(a), set()).add(unaccented(b))
            found.setdefault(stem(a), set()).add(stem(b))
    return {word: frozenset(others) for word, others in found.items()}


_ANTONYMS = _antonyms()


def opposite(one: str, other: str) -> bool:
    """Whether two folded words, or two stems, are opposites."""
    return other in _ANTONYMS.get(one, ())


def positive(word: str) -> str:
    """The word without the negation that it carries ("unacceptable" is "acceptable"); empty where it carries none."""
    if word in _NEGATIVE_FORMS:
        return word[3:] if word.startswith(("dis", "non")) else word[2:]
    if word in _LESS_FORMS:
        return f"{word[:-4]}ful"
    prefix = next((prefix for prefix in ("un", "non") if word.startswith(prefix)), "")
    base = word.removeprefix(prefix)
    return base if prefix and len(base) > 3 and word not in _NOT_NEGATIVE and common(base) else ""
