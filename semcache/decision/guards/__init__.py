"""Guards: deterministic checks that see what a cosine can't. Each parses a text once and compares two parses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from semcache.decision.guards.negation import NegationGuard
from semcache.decision.guards.numbers import NumbersGuard
from semcache.model import GuardVerdict


class Guard(Protocol):
    """One kind of difference that changes the answer."""

    @property
    def name(self) -> str:
        """Reaches the caller, the logs and the metrics."""
        ...

    def parse(self, text: str) -> tuple[str, ...]:
        """What of `text` matters to this guard, as plain strings: stored with the entry."""
        ...

    def compare(self, query: tuple[str, ...], entry: tuple[str, ...]) -> GuardVerdict:
        """Compare the parses of a request and of an entry."""
        ...


GUARDS: Mapping[str, Guard] = {guard.name: guard for guard in (NumbersGuard(), NegationGuard())}


def features_of(text: str, guards: Iterable[Guard]) -> Mapping[str, tuple[str, ...]]:
    """The parses of `text` by guard name."""
    return {guard.name: guard.parse(text) for guard in guards}
