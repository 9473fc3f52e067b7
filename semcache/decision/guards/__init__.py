"""Guards: deterministic checks that see what a cosine can't. Each parses a text once and compares two parses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from semcache.decision.guards.negation import NegationGuard
from semcache.decision.guards.numbers import NumbersGuard
from semcache.decision.texts import Text
from semcache.model import GuardVerdict


class Guard(Protocol):
    """One kind of difference that changes the answer."""

    @property
    def name(self) -> str:
        """Reaches the caller, the logs and the metrics."""
        ...

    @property
    def version(self) -> int:
        """Raised when `parse` changes: what was stored by an older one is parsed anew."""
        ...

    @property
    def most(self) -> float:
        """The most that a FEATURE of this guard can add to a score; 0 for one that only lowers or vetoes."""
        ...

    def parse(self, text: Text) -> tuple[str, ...]:
        """What of `text` matters to this guard, as plain strings: stored with the entry."""
        ...

    def compare(self, query: tuple[str, ...], entry: tuple[str, ...]) -> GuardVerdict:
        """Compare the parses of a request and of an entry."""
        ...


GUARDS: Mapping[str, Guard] = {guard.name: guard for guard in (NumbersGuard(), NegationGuard())}


def features_of(text: str, guards: Iterable[Guard]) -> Mapping[str, tuple[str, ...]]:
    """The parses of `text` by guard name."""
    whole = Text(text)
    return {feature_name(guard): guard.parse(whole) for guard in guards}


def feature_name(guard: Guard) -> str:
    """Under which name a guard's parse is stored."""
    return f"{guard.name}/{guard.version}"
