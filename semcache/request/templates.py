"""Divide a message that was made from a template: what must be equal, and the slots that are compared by meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from semcache.errors import InvalidRequestError
from semcache.model import Template
from semcache.settings import CacheabilitySettings, DeclaredTemplate

Slots = Sequence[tuple[str, str]]


Frame = list[object]
"""A message without the values that are compared: its texts, and between them the name of a slot as a list of one."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A message that was made from a template. Its frame and the values of its slots together say all of it.

    Attributes:
        frame: what must be equal around the compared slots, with the values of the other slots.
        equal: the other slots, by name.
        compared: the slots that are compared by meaning, by name.
    """

    frame: Frame
    equal: Slots
    compared: Slots


class Templates:
    """Divides the messages of requests that name a template."""

    def __init__(self, settings: CacheabilitySettings) -> None:
        self._long_slot_chars = settings.long_slot_chars
        self._declared: Mapping[str, DeclaredTemplate] = {template.id: template for template in settings.templates}

    def fill(self, use: Template, prompt: str) -> Filled:
        """Divide a message into what must be equal and the slots that are compared.

        Args:
            use: the template that the request names, with its slots.
            prompt: the user's message that was made from it.

        Raises:
            InvalidRequestError: UNKNOWN_TEMPLATE: templates are declared, and this isn't one of them.
                INVALID_TEMPLATE: a slot is missing, unknown, or has a value that isn't in the prompt: two prompts that
                differ in such a value would look equal. Or the prompt isn't the declared text with these values.
        """
        declared = self._declared.get(use.template_id)
        if declared is not None:
            self._check(use, declared)
        elif self._declared:
            known = ", ".join(sorted(self._declared))
            raise InvalidRequestError(
                f"No template is called {use.template_id}.",
                reason="UNKNOWN_TEMPLATE",
                hint=f"Known are {known}; or declare it in cacheability.templates.",
            )
        for name, value in use.slots:
            if value not in prompt:
                _refuse(
                    f"The value of the template's slot {name} doesn't stand in the last user message.",
                    "Send each value as it was filled in.",
                )
        if declared is not None and declared.text and prompt != _filled_in(declared, dict(use.slots)):
            _refuse(
                f"The last user message isn't the text of the template {declared.id} with these values.",
                "Fill in the text of cacheability.templates, or name no template.",
            )
        slots = sorted(use.slots)
        compared = [slot for slot in slots if self._by_meaning(slot, declared)]
        return Filled(_frame(prompt, compared), [slot for slot in slots if slot not in compared], compared)

    def _by_meaning(self, slot: tuple[str, str], declared: DeclaredTemplate | None) -> bool:
        name, value = slot
        if declared is not None and declared.by_meaning is not None:
            return name in declared.by_meaning
        return len(value) > self._long_slot_chars

    def _check(self, use: Template, declared: DeclaredTemplate) -> None:
        given, wanted = {name for name, _ in use.slots}, set(declared.slots)
        missing, unknown = sorted(wanted - given), sorted(given - wanted)
        if missing:
            _refuse(f"The template {declared.id} lacks the slot {missing[0]}.", "Send every slot that is declared.")
        if unknown:
            _refuse(
                f"The template {declared.id} has no slot {unknown[0]}.", f"Its slots are {', '.join(declared.slots)}."
            )


def _filled_in(declared: DeclaredTemplate, values: Mapping[str, str]) -> str:
    """Return the declared text with a value in each place. A place that a value brings is none."""
    names = "|".join(map(re.escape, values))
    return re.sub(f"{{({names})}}", lambda place: values[place[1]], declared.text) if names else declared.text


def _frame(prompt: str, compared: Slots) -> Frame:
    """Return the prompt with each compared value cut out, wherever it stands; longer ones before those they contain.

    Two prompts with equal frames differ in nothing but the compared values: the frame and the values give the prompt.
    """
    frame: Frame = [prompt]
    for name, value in sorted(compared, key=lambda slot: len(slot[1]), reverse=True):
        if value:
            frame = [piece for text in frame for piece in _cut(text, name, value)]
    return frame


def _cut(piece: object, name: str, value: str) -> Frame:
    if not isinstance(piece, str):
        return [piece]
    first, *others = piece.split(value)
    return [first, *(part for text in others for part in ([name], text))]


def _refuse(message: str, hint: str) -> NoReturn:
    raise InvalidRequestError(message, reason="INVALID_TEMPLATE", hint=hint)
