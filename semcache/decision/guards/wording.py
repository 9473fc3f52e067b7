"""Compare wording: lift near repeats, and lower texts that are nearly the same but differ in a word.

Two texts are near repeats if each word of one has its counterpart at the same place in the other. Case, punctuation,
articles, politeness, singular and plural, one typing slip a word and one synonym make no difference. A phrase that
begins with a preposition may stand at the beginning or at the end.

Evidence: typing slips lower a cosine to .7 and less, where most traps are above, so a near repeat has to be lifted. Any
other difference between texts that are nearly the same is more often a trap than not. It lowers the score: an exchanged
word, exchanged roles ("Can I sue my landlord?", "Can my landlord sue me?"), another small word ("can", "must"), another
form of a word ("train", "training"). benchmarks/README.md has the rates.

Texts that aren't English are lowered for any word without a counterpart: the embedding model was trained on English,
and in other languages its cosine doesn't tell what is worded anew from what asks something else.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import zip_longest

from semcache.decision.guards.guard import PENALTY, moved, passed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.content import FIGURE_PLACE, MAX_WORDS, WORD_PLACE, Word, is_common_word
from semcache.text.lexicon import SMALL_WORDS
from semcache.text.stance import describe_conflict
from semcache.text.tables import words as word_list
from semcache.text.texts import Text

LIFT = 0.2
"""Cosine added for a near repeat: it passes the shipped threshold from a cosine of .66 on."""
SYNONYM_LIFT = 0.1
"""Cosine added where a synonym replaces a word: less, so that the cosine itself has to be higher."""
_MIN_WORDS = 2
"""Matched words that a near repeat with a slip or a synonym needs: one word is no evidence."""
_CLOSED_NEGATION = re.compile(r"(?:\bnot|n't)[,;:]", re.IGNORECASE)
"""A negation that ends its clause: "Please don't, stop it" isn't "Please don't stop it"."""
_CAPITONYMS = word_list("capitonyms")
"""Words that mean something else with a capital."""
_ACRONYMS = word_list("acronyms")
"""Longer words that mean something else in capitals."""
_LONGEST_ACRONYM = 4
"""Letters of a common word up to which capitals may make another word of it: "us", "aids", "path". A longer one in
capitals is mostly stressed: "WITHOUT a grinder"."""
_ENGLISH = "en"
_NEUTRAL = frozenset({"that", "of", "from", "there", "to"})
"""Small words that may be added or left out without another meaning, though not always: they only withhold the lift."""
_MAX_OF_FEW = 3
"""Words without a counterpart up to which even two texts of a few words are nearly the same."""
_MAX_A_MATCH = 2
"""Words without a counterpart for each matched word up to which texts are nearly the same: then half of all their words
have a counterpart. With 1, a quarter of new questions that follow one template were served another's answer."""
_MAX_NAMED = 3
"""Words without a counterpart that a verdict names."""


class WordingGuard:
    """Raises the score of near repeats, and lowers it where nearly the same words ask something else."""

    name = "wording"
    feature = "wording/4"
    max_lift = LIFT
    passes_equal = False

    def read(self, text: Text) -> tuple[str, ...]:
        """Return whether the text is English, then the values that must be equal in near repeats.

        These are figures, a negation that ends its clause, code, quotations, signs, and the words of a greeting.
        """
        numbers = text.numbers
        kinds = (numbers.dates, numbers.times, numbers.identifiers, numbers.quantities, numbers.bare)
        values = [value for kind in kinds for value in kind]
        words = [word.casefold() for word in text.request_words]
        small = ["=" + " ".join(words)] if words and SMALL_WORDS.issuperset(words) else []
        closed = ["not,"] if _CLOSED_NEGATION.search(text.plain) else []
        return (
            _ENGLISH if text.is_english else "",
            *values,
            *closed,
            *text.code_tokens,
            *text.marked_code,
            *text.quotations,
            text.signs,
            *small,
        )

    def compare(self, pair: Pair) -> GuardVerdict:
        """Raise the score of a near repeat; lower it where a word differs between texts that are nearly the same."""
        alignment = pair.alignment
        difference = self._describe_unmatched(pair) if alignment.unmatched_count else self._describe_difference(pair)
        if difference is None:
            return passed(self.name)
        if difference:
            return moved(self.name, -PENALTY, difference)
        for asked, stored in alignment.synonyms or alignment.slips[:1]:
            lift = SYNONYM_LIFT if alignment.synonyms else LIFT
            return moved(self.name, lift, f"a near repeat, {asked.folded} for {stored.folded}")
        return moved(self.name, LIFT, "a near repeat")

    def _describe_unmatched(self, pair: Pair) -> str | None:
        """Return the words without a counterpart where they lower the score; None where the text is worded anew."""
        alignment = pair.alignment
        allowed = max(_MAX_OF_FEW, _MAX_A_MATCH * len(alignment.order))
        if alignment.unmatched_count > allowed and self._are_english(pair):
            return None
        conflict = describe_conflict(pair.asked.stance, pair.stored.stance) if alignment.unmatched_count == 1 else ""
        return conflict or f"request adds {_list(alignment.asked_only)}, entry adds {_list(alignment.stored_only)}"

    def _are_english(self, pair: Pair) -> bool:
        (asked, *_), (stored, *_) = pair.features(self.feature)
        return asked == stored == _ENGLISH

    def _describe_difference(self, pair: Pair) -> str | None:
        """Return what differs although all content words have counterparts; "" for nothing, None if it is unclear."""
        alignment = pair.alignment
        asked, stored = pair.asked.stance, pair.stored.stance
        changed = bool(alignment.slips or alignment.synonyms)
        # A negation may take back one opposite ("not open", "closed"). Two opposites ask for something else.
        changes = alignment.other_forms[:1] or alignment.opposites[1:2]
        if changes:
            first, second = changes[0]
            return f"request says {first.folded}, entry says {second.folded}"
        cased = _describe_case(pair) if asked.is_cased and stored.is_cased else ""
        if cased:
            return cased
        if asked.skeleton != stored.skeleton and not pair.is_phrase_moved:
            return _describe_skeletons(asked.skeleton, stored.skeleton)
        (_, *values), (_, *stored_values) = pair.features(self.feature)
        if (
            pair.is_reversed
            or any(first.is_negative != second.is_negative for first, second in alignment.matched)
            or (alignment.moved and asked.skeleton == stored.skeleton)
            or values != stored_values
            or len(alignment.order) >= MAX_WORDS
            or len(alignment.synonyms) > 1
            or (changed and len(alignment.order) < _MIN_WORDS)
            or not (alignment.order or asked.skeleton or any(values))
        ):
            return None
        return ""


def _list(words: tuple[Word, ...]) -> str:
    return ", ".join(word.folded for word in words[:_MAX_NAMED]) or "nothing"


def _describe_case(pair: Pair) -> str:
    """Return a word that is another word with a capital or in capitals: "turkey", "path", a letter; "" for none."""
    for asked, stored in pair.alignment.matched:
        if asked.folded != stored.folded or asked.flags == stored.flags:
            continue
        if asked.is_in_capitals != stored.is_in_capitals and (len(asked.folded) == 1 or _may_be_acronym(asked)):
            return f"only one side writes {asked.folded} in capitals"
        if asked.is_name != stored.is_name and asked.folded in _CAPITONYMS:
            return f"only one side writes {asked.folded} with a capital"
    return ""


def _may_be_acronym(word: Word) -> bool:
    """Return whether a word is a common one that means something else in capitals."""
    is_short = len(word.folded) <= _LONGEST_ACRONYM
    return (is_short or word.folded in _ACRONYMS) and is_common_word(word) and word.folded not in SMALL_WORDS


def _describe_skeletons(asked: tuple[str, ...], stored: tuple[str, ...]) -> str | None:
    """Return the first place where two skeletons differ; None if only neutral words were added."""
    shorter, longer = sorted((Counter(asked), Counter(stored)), key=Counter.total)
    if shorter < longer and [w for w in asked if w not in _NEUTRAL] == [w for w in stored if w not in _NEUTRAL]:
        return None
    first, second = next((pair for pair in zip_longest(asked, stored, fillvalue="") if pair[0] != pair[1]), ("", ""))
    return f"request says {_say(first)}, entry says {_say(second)} in the same place"


def _say(place: str) -> str:
    return {WORD_PLACE: "another word", FIGURE_PLACE: "a figure", "": "nothing"}.get(place, place)
