"""Guards: deterministic checks that see what a cosine can't. Each parses a text once and compares two parses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from semcache.decision.alignment import content
from semcache.decision.guards.code import CodeGuard
from semcache.decision.guards.dates import DatesGuard
from semcache.decision.guards.direction import DirectionGuard
from semcache.decision.guards.guard import Guard
from semcache.decision.guards.identifiers import IdentifiersGuard
from semcache.decision.guards.language import LanguageGuard
from semcache.decision.guards.names import NamesGuard
from semcache.decision.guards.numbers import NumbersGuard
from semcache.decision.guards.polarity import PolarityGuard
from semcache.decision.guards.quotes import QuotesGuard
from semcache.decision.guards.units import UnitsGuard
from semcache.decision.guards.wording import WordingGuard
from semcache.decision.pair import STANCE, WORDS, feature_name
from semcache.decision.stance import stance
from semcache.decision.texts import Text

GUARDS: Mapping[str, Guard] = {
    guard.name: guard
    for guard in (
        NumbersGuard(),
        DatesGuard(),
        UnitsGuard(),
        IdentifiersGuard(),
        PolarityGuard(),
        DirectionGuard(),
        LanguageGuard(),
        CodeGuard(),
        QuotesGuard(),
        NamesGuard(),
        WordingGuard(),
    )
}
"""By name, in the order in which they are asked."""


def features_of(text: str, guards: Iterable[Guard]) -> Mapping[str, tuple[str, ...]]:
    """The parses of `text` by guard, and its words and stance; what is empty is there as well."""
    whole = Text(text)
    parses = {feature_name(guard): guard.parse(whole) for guard in guards}
    if parses:
        parses[STANCE] = stance(whole).encoded()
        parses[WORDS] = tuple(
            "\t".join(word)
            for word in content(
                whole.content_words,
                whole.language,
                whole.small_words,
            )
        )
    return parses


__all__ = ["GUARDS", "Guard", "feature_name", "features_of"]
