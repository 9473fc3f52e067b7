"""Guards: deterministic checks that see what a cosine can't. Each parses a text once and compares two parses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from semcache.decision.guards.code import CodeGuard
from semcache.decision.guards.dates import DatesGuard
from semcache.decision.guards.direction import DirectionGuard
from semcache.decision.guards.guard import Guard, passed
from semcache.decision.guards.identifiers import IdentifiersGuard
from semcache.decision.guards.language import LanguageGuard
from semcache.decision.guards.names import NamesGuard
from semcache.decision.guards.numbers import NumbersGuard
from semcache.decision.guards.polarity import PolarityGuard
from semcache.decision.guards.quotes import QuotesGuard
from semcache.decision.guards.units import UnitsGuard
from semcache.decision.guards.wording import WordingGuard
from semcache.decision.pair import STANCE, WORDS, Reading, feature_name
from semcache.text.alignment import content
from semcache.text.stance import stance
from semcache.text.texts import Text

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


def read(text: str, guards: Iterable[Guard]) -> Reading:
    """The parses of `text` by guard, and its words and stance; what is empty is there as well."""
    asking = tuple(guards)
    if not asking:
        return Reading({})
    whole = Text(text)
    parses = {feature_name(guard): guard.parse(whole) for guard in asking}
    asks = stance(whole)
    words = content(whole.content_words, whole.language, whole.small_words)
    parses[STANCE] = asks.encoded()
    parses[WORDS] = tuple(map("\t".join, words))
    return Reading(MappingProxyType(parses), words, asks)


def features_of(text: str, guards: Iterable[Guard]) -> Mapping[str, tuple[str, ...]]:
    """The same parses as they are stored."""
    return read(text, guards).features


__all__ = ["GUARDS", "Guard", "feature_name", "features_of", "passed", "read"]
