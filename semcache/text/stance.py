"""Read the stance of a text: how it asks, apart from what it asks about.

The stance holds the question word, negation, possessives, tense, "and" or "or", and the skeleton.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from semcache.text.lexicon import CJK_NEGATIONS, NEGATIONS, expansions
from semcache.text.tables import words
from semcache.text.texts import Text, words_of

_QUESTIONS = {
    **{word: word for word in ("how", "why", "where", "when")},
    **dict.fromkeys(("who", "whom", "whose"), "who"),
    **dict.fromkeys(("what", "which"), "what"),
}
_AUXILIARIES = words("auxiliaries")
_MARKERS: dict[str, str] = {
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
_ONLY = "only:only"
_POLITE = re.compile(r"^\W*(?:can|could|would|will)\s+(?:you|u)\b", re.IGNORECASE)
# Negations that don't reverse what is asked.
_IDIOMS = re.compile(
    r"\b(?:(?:not only|no longer than|no more than|no less than|no later than|whether or not|or not|why not|if not|"
    r"no matter|no problem|no doubt|no idea|no worries|not sure|don'?t know|do not know|don'?t understand|"
    r"do not understand|don'?t worry|can'?t wait|cannot wait|can'?t help|not to mention|not least|not yet|"
    r"no one else)\b"
    r"|no\.\s*\d)",
    re.IGNORECASE,
)
_IDIOMATIC = frozenset({"no", "not", "don't", "dont", "can't", "cant", "cannot"})
"""Each idiom contains one of these words."""
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
        question: how, why, where, when, who or what; "whether" for a question that yes or no answers; empty for no
            question word.
        markers: the small words that may change an answer, as "kind:word".
        skeleton: the small words and negations that count, in order, with a place for each content word and figure,
            as `content.read_content` writes them. "what do _ _ from _" has two places to exchange.
        is_cased: whether the text has both capitals and small letters, so that a word's case may have a meaning.
    """

    negated: bool
    question: str
    markers: frozenset[str]
    skeleton: tuple[str, ...]
    is_cased: bool

    def encode(self) -> tuple[str, ...]:
        """Return the stance as it is stored with an entry."""
        flags = ("odd" if self.negated else "even") + (" cased" if self.is_cased else "")
        return (flags, self.question, " ".join(self.skeleton), *sorted(self.markers))

    @classmethod
    def decode(cls, stored: tuple[str, ...]) -> Stance:
        """Return the stance that `encode` wrote."""
        flags, question, skeleton, *markers = stored
        return cls(
            flags.startswith("odd"), question, frozenset(markers), tuple(skeleton.split()), flags.endswith(" cased")
        )


def read_stance(text: Text, skeleton: tuple[str, ...]) -> Stance:
    """Return the stance of a text with a skeleton by `content.read_content`."""
    parts = [part for word in text.request_words for part in expansions[word.casefold()]]
    markers = frozenset([_MARKERS[part] for part in parts if part in _MARKERS])
    negated = _count_negations(text, parts) % 2 == 1
    is_cased = not text.plain.islower() and not text.plain.isupper()
    return Stance(negated, _question(text, parts[:64]), markers, skeleton, is_cased)


def _count_negations(text: Text, parts: list[str]) -> int:
    if text.plain.isascii() and NEGATIONS.isdisjoint(parts):
        return 0
    plain = text.plain if text.vocabulary.isdisjoint(_IDIOMATIC) else _IDIOMS.sub(" ", text.plain)
    plain = _QUESTION_TAG.sub(" ", plain)
    count = len(CJK_NEGATIONS.findall(plain)) if text.script in {"han", "kana", "hangul"} else 0
    words = text.words if plain == text.plain else words_of(plain)
    return count + sum([part in NEGATIONS for raw in words for part in expansions[raw.casefold()]])


def _question(text: Text, parts: list[str]) -> str:
    word = next((_QUESTIONS[part] for part in parts if part in _QUESTIONS), "")
    if word:
        return word
    if parts[:2] == ["do", "not"] and not _PERSONS.intersection(parts[2:3]):
        return ""  # "Don't cancel it" commands, "Don't you …" asks.
    return "whether" if parts and parts[0] in _AUXILIARIES and not _POLITE.match(text.plain) else ""


def describe_conflict(asked: Stance, stored: Stance) -> str:
    """Return how small words of two texts contradict each other, for a person; empty where they don't.

    Small words conflict if they are of one kind and differ: "my" and "your", "under" and "over", "is" and "was".
    """
    if (_ONLY in asked.markers) != (_ONLY in stored.markers):
        return "only one side says only"
    for marker in sorted(asked.markers - stored.markers):
        kind = marker.partition(":")[0] + ":"
        rivals = [rival for rival in sorted(stored.markers) if rival.startswith(kind)]
        if rivals and asked.markers.isdisjoint(rivals):
            return f"request says {marker.removeprefix(kind)}, entry says {rivals[0].removeprefix(kind)}"
    return ""
