"""Tell whether a request's answer may be given to another request: by its wording, in the languages of the tables.

Four classes of requests aren't repeatable. Each is a list in the settings of the same name, which switches it:

- `time_sensitive`: the answer depends on when it is asked ("tomorrow", "the weather in Paris").
- `random`: each answer should be another one ("flip a coin", "another joke").
- `continuation`: the message means nothing without an earlier turn, and there is none ("continue").
- `personal`: the request has a person's name, number or address.

A follow-up ("and in Paris?") has the class of the message that it follows.

Tables are searched in three steps, each linear in the length of the text. Most texts end at the first:

1. All wordings of all classes are searched at once.
2. Where some match, the wordings that only look so ("time series", "Today Show") are taken out of the text.
3. The rest is searched again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from semcache.request.follow_up import follows_up, points_back
from semcache.request.patterns import Patterns
from semcache.request.wordings import MEMORY_BYTES, fold, load_patterns, load_phrases, load_table
from semcache.settings import SHIPPED, CacheabilitySettings

_TABLES: Mapping[str, Sequence[str]] = {
    "time_sensitive": ("time_sensitive_en", "time_sensitive_latin", "time_sensitive_other"),
    "random": ("random",),
    "personal": ("personal",),
}
"""The tables of the classes that are searched for anywhere in a text, in the order in which a reason is told."""
_PHRASE_CHARS = 48
"""Characters beyond which a message isn't looked up among the continuations: none is so long."""
_BETWEEN_WORDS = re.compile(r"[^\w'-]+")
_MAX_TAKEN_OUT_CHARS = 32_768
"""Characters of a text from which wordings are taken out. Each takes RE2 some milliseconds of a long text, whose many
sentences mostly have wordings that aren't taken out anyway."""
_TAKEN_OUT = "\0"
"""What stands for a wording that was taken out: neither a word, nor white space, nor the end of a sentence."""

_WARM_UP = (
    "How do I reset the password of my account, and what does it cost to change the name on it?",
    "Today I called 555 0100. Give me another joke about the weather!",
    "¿Cómo puedo cambiar la contraseña? Wie lange dauert es? Combien ça coûte? Quanto custa? Ile to kosztuje?",
    "Как изменить пароль? パスワードを忘れました。怎样修改密码？ 비밀번호를 바꾸려면?",
    "and in Paris?",
)
"""Texts that are searched at the start. RE2 compiles the tables and builds its automata at the first searches: together
they take about 0.6 s, for which the first request would have to wait."""


class Message(NamedTuple):
    """What is searched of a request.

    Attributes:
        asked: the text of the last user message.
        earlier: the texts of the user messages before it.
        begins: whether no turn stands before the last user message.
    """

    asked: str
    earlier: Sequence[str]
    begins: bool


class Repeatability:
    """Names the class of requests that aren't repeatable."""

    def __init__(self, settings: CacheabilitySettings) -> None:
        """Set up the classes that the settings switch on, with the tables and with the operator's own patterns."""
        lists = {
            "time_sensitive": settings.time_sensitive,
            "random": settings.random,
            "continuation": settings.continuation,
            "personal": settings.personal,
        }
        self._classes = tuple(name for name in _TABLES if SHIPPED in lists[name])
        self._phrases = _continuations() if SHIPPED in settings.continuation else frozenset()
        own = [(name, pattern) for name, patterns in lists.items() for pattern in patterns if pattern != SHIPPED]
        self._own_classes = [name for name, _ in own]
        self._own = Patterns([pattern for _, pattern in own])
        self._own_personal = Patterns([pattern for name, pattern in own if name == "personal"])
        for text in _WARM_UP:
            self.class_of(Message(text, (text,), begins=True))

    def class_of(self, message: Message) -> str:
        """Return the class of a request that isn't repeatable, a stable snake_case token; empty if it is repeatable."""
        text = fold(message.asked)
        if message.begins and self._phrases and (_phrase_of(text) in self._phrases or points_back(text)):
            return "continuation"
        found = self._of_wording(message.asked, text, begins=message.begins)
        if found:
            return found
        if any(self._is_personal(earlier) for earlier in message.earlier):
            return "personal"
        return self._of_earlier(text, message.earlier)

    def _of_wording(self, text: str, folded: str, *, begins: bool) -> str:
        found = _first(self._classes, folded)
        if found:
            return found
        own = (self._own_classes[position] for position in self._own.find(text))
        return next((name for name in own if begins or name != "continuation"), "")

    def _of_earlier(self, folded: str, earlier: Sequence[str]) -> str:
        """Return the class of the message that a follow-up follows, over as many follow-ups as there are."""
        for before in reversed(earlier):
            if not _follows(folded):
                return ""
            folded = fold(before)
            found = self._of_wording(before, folded, begins=False)
            if found:
                return found
        return ""

    def _is_personal(self, text: str) -> bool:
        shipped = "personal" in self._classes and _first(("personal",), fold(text))
        return bool(shipped or self._own_personal.find(text))


def _follows(folded: str) -> bool:
    return _phrase_of(folded) in _continuations() or follows_up(folded)


def _phrase_of(folded: str) -> str:
    return _phrase(folded) if len(folded) <= _PHRASE_CHARS else ""


def _phrase(text: str) -> str:
    """Return the words of a folded text with one blank between them, without a small word at the beginning."""
    return _BETWEEN_WORDS.sub(" ", text).strip().removeprefix("ok ").removeprefix("okay ")


def _first(classes: tuple[str, ...], text: str) -> str:
    """Return the first of the classes whose wordings a folded text has; empty if it has none."""
    patterns = _patterns(classes)
    if not patterns.find(text):
        return ""
    if len(text) <= _MAX_TAKEN_OUT_CHARS:
        text = load_table("repeatable").sub(_TAKEN_OUT, text)
    matches = patterns.find(text)
    return classes[matches[0]] if matches else ""


@cache
def _patterns(classes: tuple[str, ...]) -> Patterns:
    """Return one pattern for each class: RE2 compiles the tables in half a second, so a process does it once."""
    return Patterns(
        ["|".join(load_patterns(*_TABLES[name])) for name in classes], case_sensitive=True, memory_bytes=MEMORY_BYTES
    )


@cache
def _continuations() -> frozenset[str]:
    return frozenset(_phrase(phrase) for phrase in load_phrases("continuation"))
