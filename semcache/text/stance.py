"""How a text asks, beside what it asks about: its question word, whose things, which time, "and" or "or"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from semcache.text.lexicon import CJK_NEGATIONS, NEGATIONS, SMALL_WORDS, spread, unaccented
from semcache.text.tables import words
from semcache.text.texts import Text, words_of

_QUESTIONS = {
    **{word: word for word in ("how", "why", "where", "when")},
    **dict.fromkeys(("who", "whom", "whose"), "who"),
    **dict.fromkeys(("what", "which"), "what"),
}
_AUXILIARIES = words("auxiliaries")
_CLASSES: dict[str, str] = {
    **dict.fromkeys(("my", "mine"), "whose:my"),
    **dict.fromkeys(("your", "yours"), "whose:your"),
    **dict.fromkeys(("his", "him"), "whose:his"),
    **dict.fromkeys(("her", "hers"), "whose:her"),
    **dict.fromkeys(("their", "theirs"), "whose:their"),
    **dict.fromkeys(("was", "were", "did", "had"), "time:past"),
    **dict.fromkeys(("is", "are", "am", "does"), "time:present"),
    **dict.fromkeys(("will",), "time:future"),
    "and": "join:and",
    "or": "join:or",
    **dict.fromkeys(("under", "below", "within"), "bound:under"),
    **dict.fromkeys(("over", "above", "beyond"), "bound:over"),
    **dict.fromkeys(("all", "every", "each", "entire", "whole"), "count:all"),
    **dict.fromkeys(("some", "several"), "count:some"),
    **dict.fromkeys(
        ("only", "solely", "exclusively", "nur", "solo", "solamente", "seulement", "uniquement"), "only:only"
    ),
    "before": "order:before",
    "until": "order:until",
    "after": "order:after",
    "since": "order:since",
}
_PERSONS = frozenset({"i", "you", "we", "they"})
_FILLERS = words("fillers")
_ALIKE = {"could": "can", "would": "will", "has": "have", "cannot": "can"}
_COUNTED = {
    word: _ALIKE.get(word, word)
    for word in SMALL_WORDS | NEGATIONS
    if word in NEGATIONS or _ALIKE.get(word, word) not in _FILLERS
}
"""Of an English text: what counts of its small words, and as which."""
_HOW_TO = re.compile(r"\bhow (?:can|to|will|should)\b")
_ONLY = "only:only"
_POLITE = re.compile(r"^\W*(?:can|could|would|will)\s+(?:you|u)\b", re.IGNORECASE)
_EXCHANGEABLE = {frozenset({"", "how"}), frozenset({"", "what"})}


# Negations that say nothing about the polarity of what is asked.
_IDIOMS = re.compile(
    r"\b(?:(?:not only|no longer than|no more than|no less than|no later than|whether or not|or not|why not|if not|"
    r"no matter|no problem|no doubt|no idea|no worries|not sure|don'?t know|do not know|don'?t understand|"
    r"do not understand|don'?t worry|can'?t wait|cannot wait|can'?t help|not to mention|not least|not yet|"
    r"no one else)\b"
    r"|no\.\s*\d)",
    re.IGNORECASE,
)
_IDIOMATIC = frozenset({"no", "not", "don't", "dont", "can't", "cant", "cannot"})
"""Each of them has one of these."""
_QUESTION_TAG = re.compile(
    r"(?:,\s*(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have)n?'?t?\s+(?:not\s+)?"
    r"(?:it|they|you|we|he|she|i)\s*\?\s*$)"
    r"|^\s*(?:can't|couldn't|won't|wouldn't|isn't|aren't|don't|doesn't|didn't|shouldn't)\s+"
    r"(?:you|we|it|there|i|they|he|she|this|that)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Stance:
    """How a text asks.

    Attributes:
        negated: whether its negation words reverse it.
        asks: how, why, where, when, who, what; "whether" for a question that yes or no answers; empty for none.
        says: which of the small words that matter occur, as "kind:word".
        small: the small words and negations that are no fillers, in order; all of them where the text isn't English.
        frame: the text with a blank for each content word: "what did _ borrow from _" has two places to exchange.
    """

    negated: bool
    asks: str
    says: frozenset[str]
    frame: str
    small: str

    def encoded(self) -> tuple[str, ...]:
        """As it is stored."""
        return ("odd" if self.negated else "even", self.asks, self.frame, self.small, *sorted(self.says))

    def small_words(self, moved: bool) -> list[str]:
        """The small words that count, in order, or sorted where a part of the text has moved."""
        found = self.small.split()
        return sorted(found) if moved else found

    @classmethod
    def decoded(cls, stored: tuple[str, ...]) -> Stance:
        """The inverse of `encoded`."""
        return cls(stored[0] == "odd", stored[1], frozenset(stored[4:]), stored[2], stored[3])


def stance(text: Text) -> Stance:
    """The stance of a text."""
    parts = [part for word in text.request_words for part in spread[word.casefold()]]
    says = frozenset([_CLASSES[part] for part in parts if part in _CLASSES])
    frame = " ".join([part if part in SMALL_WORDS else "_" for part in parts])
    return Stance(_negations(text, parts) % 2 == 1, _asks(text, parts[:64]), says, frame, _small(text, parts))


def _small(text: Text, parts: list[str]) -> str:
    if text.language in {"", "en"}:
        kept = [_COUNTED[part] for part in parts if part in _COUNTED]
    else:
        kept = [_ALIKE.get(part, part) for part in parts if part in NEGATIONS or unaccented(part) in text.small_words]
    # "How can I", "how do I" and "how to" ask alike.
    return _HOW_TO.sub("how", " ".join(kept))


def _negations(text: Text, parts: list[str]) -> int:
    if text.plain.isascii() and NEGATIONS.isdisjoint(parts):
        return 0
    plain = text.plain if text.vocabulary.isdisjoint(_IDIOMATIC) else _IDIOMS.sub(" ", text.plain)
    plain = _QUESTION_TAG.sub(" ", plain)
    count = len(CJK_NEGATIONS.findall(plain)) if text.script in {"han", "kana", "hangul"} else 0
    words = text.words if plain == text.plain else words_of(plain)
    return count + sum([part in NEGATIONS for raw in words for part in spread[raw.casefold()]])


def _asks(text: Text, parts: list[str]) -> str:
    found = next((_QUESTIONS[part] for part in parts if part in _QUESTIONS), "")
    if found:
        return found
    if parts[:2] == ["do", "not"] and not _PERSONS.intersection(parts[2:3]):
        return ""  # "Don't cancel it" commands, "Don't you …" asks.
    return "whether" if parts and parts[0] in _AUXILIARIES and not _POLITE.match(text.plain) else ""


def asks_alike(asked: Stance, stored: Stance) -> bool:
    """Whether the question words may stand for each other."""
    return asked.asks == stored.asks or frozenset({asked.asks, stored.asks}) in _EXCHANGEABLE


def conflict(asked: Stance, stored: Stance) -> str:
    """What of the small words of two stances can't be one request, in words; empty for nothing."""
    if (_ONLY in asked.says) != (_ONLY in stored.says):
        return "only one side says only"
    for one in sorted(asked.says - stored.says):
        kind = one.partition(":")[0] + ":"
        others = [other for other in sorted(stored.says) if other.startswith(kind)]
        if others and asked.says.isdisjoint(others):
            return f"request says {one.removeprefix(kind)}, entry says {others[0].removeprefix(kind)}"
    return ""
