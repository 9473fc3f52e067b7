"""Guards: deterministic checks for differences that a cosine doesn't show.

Each guard reads a feature of a text once, and compares the features of two texts.

The docstring of each guard gives its evidence, from the labelled sets that docs/quality.md names. The command
`python -m benchmarks.guards` measures what each guard vetoes; benchmarks/README.md has today's results.
"""

from __future__ import annotations

from collections.abc import Mapping

from semcache.decision.guards.code import CodeGuard
from semcache.decision.guards.dates import DatesGuard
from semcache.decision.guards.direction import DirectionGuard
from semcache.decision.guards.guard import Guard, passed
from semcache.decision.guards.identifiers import IdentifiersGuard
from semcache.decision.guards.language import LanguageGuard
from semcache.decision.guards.marks import MarksGuard
from semcache.decision.guards.names import NamesGuard
from semcache.decision.guards.numbers import NumbersGuard
from semcache.decision.guards.polarity import PolarityGuard
from semcache.decision.guards.quotes import QuotesGuard
from semcache.decision.guards.signs import SignsGuard
from semcache.decision.guards.units import UnitsGuard
from semcache.decision.guards.wording import WordingGuard

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
        MarksGuard(),
        CodeGuard(),
        SignsGuard(),
        QuotesGuard(),
        NamesGuard(),
        WordingGuard(),
    )
}
"""All guards by name, in the order in which they are asked."""

__all__ = ["GUARDS", "Guard", "passed"]
