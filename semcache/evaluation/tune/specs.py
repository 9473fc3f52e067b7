"""Reads decision settings as a command line writes them: `strict:threshold=0.95,guards=numbers+polarity`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from semcache.decision import GUARDS, Decider
from semcache.errors import InvalidRequestError
from semcache.settings import DecisionSettings

NO_GUARDS = "none"
ALL_GUARDS = "all"
_NAMED = re.compile(r"(?P<name>[^:=,]{1,64}):(?P<rest>.*)", re.DOTALL)
_HINT = "Write threshold=0.95, guards=numbers+polarity, guards=none or both with a comma; `name:` may stand before."


@dataclass(frozen=True, slots=True)
class Spec:
    """A named decision setting.

    Attributes:
        name: its name in tables.
        decision: the setting.
    """

    name: str
    decision: DecisionSettings

    @property
    def decider(self) -> Decider:
        """A decider under this setting."""
        return Decider(self.decision)


def read_specs(texts: Sequence[str], base: DecisionSettings) -> tuple[Spec, ...]:
    """Return the settings that `texts` describe.

    A part that a text doesn't name is taken from `base`. A text with a threshold drops the overrides of `base`.

    Raises:
        InvalidRequestError: INVALID_POLICY, INVALID_THRESHOLD or UNKNOWN_GUARD; the message quotes the text.
    """
    specs = tuple(_read(text, base) for text in texts)
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            _refuse(f"Two policies are called {name!r}.", "Put another name and a colon before one of them.")
    return specs


def check_threshold(value: float, about: str = "The threshold") -> float:
    """Return `value` if it is a cosine.

    Args:
        value: the threshold to check.
        about: the subject of the error's sentence.

    Raises:
        InvalidRequestError: INVALID_THRESHOLD: the value is outside [-1, 1], or not a number.
    """
    if not -1.0 <= value <= 1.0:
        raise InvalidRequestError(
            f"{about} is {value:g}, and a threshold is a cosine, from -1 to 1.",
            reason="INVALID_THRESHOLD",
            hint="Useful ones lie between 0.8 and 1.",
        )
    return value


def read_guards(text: str) -> tuple[str, ...]:
    """Return the names of guards from a text such as `numbers+polarity`, `none` or `all`.

    Raises:
        InvalidRequestError: UNKNOWN_GUARD.
    """
    names = text.strip()
    if names == NO_GUARDS:
        return ()
    if names == ALL_GUARDS:
        return tuple(GUARDS)
    guards = tuple(name.strip() for name in names.split("+"))
    for name in guards:
        if name not in GUARDS:
            raise InvalidRequestError(
                f"There is no guard {name!r}.",
                reason="UNKNOWN_GUARD",
                hint=f"There are {', '.join(GUARDS)}; `none` switches all off, `all` on.",
            )
    return tuple(dict.fromkeys(guards))


def _read(text: str, base: DecisionSettings) -> Spec:
    named = _NAMED.fullmatch(text)
    name, rest = (named["name"].strip(), named["rest"]) if named else (text.strip(), text)
    changes: dict[str, object] = {}
    for part in rest.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key in changes:
            _refuse(f"The policy {text[:80]!r} says {key} twice.", "Say it once.")
        if key == "threshold" and equals:
            changes |= {"threshold": _number(text, value), "overrides": ()}
        elif key == "guards" and equals:
            changes["guards"] = read_guards(value)
        else:
            _refuse(f"The policy {text[:80]!r} isn't understood at {part.strip()[:40]!r}.", _HINT)
    return Spec(name, base.model_copy(update=changes))


def _number(text: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        _refuse(f"The policy {text[:80]!r} has the threshold {value[:40]!r}, which is no number.", _HINT)
    return check_threshold(number, f"The threshold of the policy {text[:80]!r}")


def _refuse(message: str, hint: str) -> NoReturn:
    raise InvalidRequestError(message, reason="INVALID_POLICY", hint=hint)
