"""Divide the slots of a template: those that must be equal, and those that are compared by meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from semcache.errors import InvalidRequestError
from semcache.model import Template
from semcache.settings import CacheabilitySettings, DeclaredTemplate

Slots = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Filled:
    """A template's slots by name: those that must be equal, and those that are compared by meaning."""

    equal: Slots
    compared: Slots


class Templates:
    """Divides the slots of the templates that requests name."""

    def __init__(self, settings: CacheabilitySettings) -> None:
        self._long_slot_chars = settings.long_slot_chars
        self._declared: Mapping[str, DeclaredTemplate] = {template.id: template for template in settings.templates}

    def fill(self, use: Template, prompt: str) -> Filled:
        """Divide the slots of a template into those that must be equal and those that are compared.

        Args:
            use: the template that the request names, with its slots.
            prompt: the user's message that was made from it.

        Raises:
            InvalidRequestError: UNKNOWN_TEMPLATE: templates are declared, and this isn't one of them.
                INVALID_TEMPLATE: a slot is missing, unknown, or has a value that isn't in the prompt. Two prompts that
                differ in such a value would look equal.
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
        slots = sorted(use.slots)
        compared = [slot for slot in slots if self._by_meaning(slot, declared)]
        return Filled([slot for slot in slots if slot not in compared], compared)

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


def _refuse(message: str, hint: str) -> NoReturn:
    raise InvalidRequestError(message, reason="INVALID_TEMPLATE", hint=hint)
