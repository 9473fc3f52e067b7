"""Edit texts by rules: an edit that changes the answer, and one that leaves it the same.

The rules read English words. In other languages only figures are changed, and manners aren't added.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from semcache.text.tables import groups as word_groups
from semcache.text.texts import Text
from semcache.training.tables import lines

_FIGURE = re.compile(r"(?<![\w.,])\d{1,4}(?![\w.,]\d|\w)")
_ROUTE = re.compile(r"\b(from)\s+(\w+)\s+(to|into)\s+(\w+)\b", re.IGNORECASE)
_CONVERSION = re.compile(r"\b(convert|translate|turn|change)\s+([\w ]{2,30}?)\s+(to|into)\s+(\w+)", re.IGNORECASE)
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}\b")
_LONGEST_SCOPED = 140
"""Characters of a text up to which a scope is added at its end: in a longer one the end may belong to a document."""
Change = Callable[[str, random.Random], str]


@dataclass(frozen=True, slots=True)
class EditedText:
    """A text, a rewording with the same answer, and an edit with another one.

    Attributes:
        text: the text.
        same: differs in manners, case or a slip alone.
        different: asks something else.
    """

    text: str
    same: str
    different: str


class Editor:
    """Edits texts. It takes names for the place of names from the texts themselves.

    Args:
        texts: all texts that may be edited.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._names = sorted({name for text in texts for name in _NAME.findall(text)})

    def edit(self, text: str, chance: random.Random) -> EditedText | None:
        """Return the text with an edit of each kind; None where no rule changes it.

        Args:
            text: the text.
            chance: the source of the draw.
        """
        changes: list[Change] = [_change_figure, self._change_name, _reverse]
        if Text(text).is_english:
            changes += [_put_opposite, _put_phrase, _put_phrase, _add_scope]
        chance.shuffle(changes)
        different = next((edited for change in changes if (edited := change(text, chance)) != text), text)
        if different == text:
            return None
        return EditedText(text, _reword(text, chance), different)

    def _change_name(self, text: str, chance: random.Random) -> str:
        names = list(_NAME.finditer(text))
        if not names or len(self._names) < 2:
            return text
        place = chance.choice(names)
        name = chance.choice(self._names)
        return text if name in text else text[: place.start()] + name + text[place.end() :]


def _change_figure(text: str, chance: random.Random) -> str:
    figures = list(_FIGURE.finditer(text))
    if not figures:
        return text
    place = chance.choice(figures)
    value = int(place.group())
    step = max(1, value // 5)
    changed = max(0, value + chance.choice((-step, step, 1, 10 * step)))
    return text if changed == value else f"{text[: place.start()]}{changed}{text[place.end() :]}"


def _reverse(text: str, _: random.Random) -> str:
    turned = _ROUTE.sub(r"\1 \4 \3 \2", text, count=1)
    return turned if turned != text else _CONVERSION.sub(r"\1 \4 \3 \2", text, count=1)


@cache
def _opposites() -> dict[str, tuple[str, ...]]:
    opposites: dict[str, set[str]] = {}
    for first, second in word_groups("antonyms"):
        opposites.setdefault(first, set()).add(second)
        opposites.setdefault(second, set()).add(first)
    return {word: tuple(sorted(others)) for word, others in opposites.items()}


def _put_opposite(text: str, chance: random.Random) -> str:
    words = [place for place in re.finditer(r"[^\W\d_]+", text) if place.group().casefold() in _opposites()]
    if not words:
        return text
    place = chance.choice(words)
    return text[: place.start()] + chance.choice(_opposites()[place.group().casefold()]) + text[place.end() :]


@cache
def _phrases() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return each phrase as a pattern with the phrase that takes its place."""
    pairs = [tuple(part.strip() for part in line.split("=")) for line in lines("edits")]
    both = [*pairs, *((second, first) for first, second in pairs)]
    return tuple((re.compile(rf"(?<![\w']){re.escape(found)}(?![\w'])", re.IGNORECASE), put) for found, put in both)


def _put_phrase(text: str, chance: random.Random) -> str:
    fitting = [(pattern, put) for pattern, put in _phrases() if pattern.search(text)]
    if not fitting:
        return text
    pattern, put = chance.choice(fitting)
    return pattern.sub(put.replace("\\", r"\\"), text, count=1)


def _add_scope(text: str, chance: random.Random) -> str:
    if len(text) > _LONGEST_SCOPED:
        return text
    body = text.rstrip("?.! ")
    scope = chance.choice(lines("scopes"))
    return text if scope in text else f"{body} {scope}{text[len(body) :].rstrip()}"


@cache
def _manners() -> tuple[tuple[str, str], ...]:
    """Return what may stand before and after a request."""
    parted = (line.partition("…") for line in lines("manners"))
    return tuple((before.rstrip(), after.lstrip()) for before, _, after in parted)


def _reword(text: str, chance: random.Random) -> str:
    """Return the text as another person may type it: with manners, in lower case, without its end, with a slip."""
    changed = text
    if Text(text).is_english:
        before, after = chance.choice(_manners())
        changed = " ".join(part for part in (before, text, after) if part)
    kind = chance.randrange(4)
    if kind == 0:
        return changed.lower()
    if kind == 1:
        return changed.rstrip("?.!")
    if kind == 2:
        return _slip(changed, chance)
    return changed


def _slip(text: str, chance: random.Random) -> str:
    """Return the text with two letters of a longer word exchanged."""
    words = list(re.finditer(r"[a-z]{6,}", text))
    if not words:
        return text
    start = chance.choice(words).start() + chance.randrange(1, 4)
    return text[:start] + text[start + 1] + text[start] + text[start + 2 :]
