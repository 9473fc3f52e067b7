"""Settings of requests: which may be answered from the cache, templates, task types."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import (
    Field,
    model_validator,
)

from semcache.settings.section import SHIPPED, Cosine, Count, ListedPattern, Name, Pattern, Seconds, Section


class DeclaredTemplate(Section):
    """A template that callers may name."""

    id: Name
    slots: tuple[Name, ...] = ()
    """The slots that a use must fill: all of them and no others."""
    by_meaning: tuple[Name, ...] | None = None
    """Slots that are compared by meaning; the others must be equal. None: those longer than `long_slot_chars`."""
    text: str = ""
    """The user's message, with `{slot}` in the place of each value: "Answer in {language}: {question}". A use that
    differs elsewhere is refused. Empty: what stands around the slots isn't checked; only uses with the same share."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.slots)) < len(self.slots):
            raise ValueError(f"template {self.id} names a slot twice")
        unknown = set(self.by_meaning or ()) - set(self.slots)
        if unknown:
            raise ValueError(f"template {self.id} has no slot {min(unknown)}, which by_meaning names")
        absent = [slot for slot in self.slots if self.text and f"{{{slot}}}" not in self.text]
        if absent:
            raise ValueError(f"the text of template {self.id} lacks {{{absent[0]}}}")
        return self


class CacheabilitySettings(Section):
    """Which requests may be answered from the cache at all."""

    max_temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    """A request with a higher temperature asks for variety, so it bypasses the cache. One without a temperature
    doesn't."""
    time_sensitive: tuple[ListedPattern, ...] = (SHIPPED,)
    """Wordings of requests whose answer depends on when they are asked: "tomorrow", "the weather in Paris". Such a
    request bypasses the cache. `+shipped` stands for the wordings that ship with semcache (docs/quality.md); an empty
    list switches the class off. Further patterns are in RE2's syntax, without look-around and with word boundaries
    that know only ASCII. They are searched without regard to case in the last user message."""
    random: tuple[ListedPattern, ...] = (SHIPPED,)
    """Wordings of requests that want another answer each time: "flip a coin", "another joke". A list of the same kind
    as `time_sensitive`."""
    continuation: tuple[ListedPattern, ...] = (SHIPPED,)
    """Messages that mean nothing without an earlier turn, where there is none: "continue", "yes". A list of the same
    kind."""
    personal: tuple[ListedPattern, ...] = (SHIPPED,)
    """Names, numbers and addresses of one person: "my name is …", telephone and account numbers. A list of the same
    kind, but it is searched in all user messages: an answer may repeat what an earlier turn said."""
    store_tool_calls: bool = False
    """Store answers that call tools, and serve them to equal requests alone. Off: such an answer may have been right
    only then, and a program that acts on it again does it twice."""
    ttl_s: Seconds = 86_400.0
    """How long an answer lives when the caller doesn't say: a day. A hit doesn't make it longer."""
    max_ttl_s: Seconds = 30 * 86_400.0
    """A caller's longer ttl is cut to this."""
    per_end_user: bool = True
    """Requests that name their end user, by `user`, `safety_identifier` or in `metadata`, share answers with this end
    user's alone. False: all end users of a tenant share. Set it where no answer depends on who asks."""
    long_slot_chars: Count = 24
    """A template's slot with more characters is compared by meaning, a shorter one exactly."""
    templates: tuple[DeclaredTemplate, ...] = ()
    """Templates that callers may name, with their slots. Empty: callers may name any, and only the values are
    checked."""

    @model_validator(mode="after")
    def _check_templates(self) -> Self:
        ids = [template.id for template in self.templates]
        if len(set(ids)) < len(ids):
            raise ValueError("templates declares an id twice")
        return self


class TaskRule(Section):
    """A pattern of the prompts of a task type."""

    task_type: Name
    pattern: Pattern
    """In RE2's syntax, searched without regard to case in the text that is compared (the last user message)."""


class TaskExemplars(Section):
    """Prompts that are typical of a task type."""

    task_type: Name
    texts: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


class ComplexityRule(Section):
    """The conditions for a complexity; all that are set must hold."""

    complexity: Name
    """A name of your own, for the routes: low, high, …"""
    min_chars: Count | None = None
    """At least this many characters in all messages."""
    pattern: Pattern | None = None
    """In RE2's syntax, searched without regard to case in the text that is compared."""
    task_types: tuple[Name, ...] = ()
    """Only for requests of these task types; empty: for all."""


class TaskSettings(Section):
    """How a request's task type and complexity are found. Its route, its threshold and its costs depend on them."""

    types: tuple[Name, ...] = ("chat", "code", "reasoning", "search", "support")
    """The task types that rules and exemplars may name. Callers may name any."""
    rules: tuple[TaskRule, ...] = ()
    """Rules for requests that name no task type: the first that matches."""
    exemplars: tuple[TaskExemplars, ...] = ()
    """For requests that no rule matches: the task type of the nearest exemplar. Such requests are embedded before they
    are routed."""
    exemplar_similarity: Cosine = 0.5
    """The cosine from which an exemplar counts: unrelated prompts are mostly below .3."""
    complexity: tuple[ComplexityRule, ...] = ()
    """Rules of complexity: the first that matches. A request that none matches has no complexity."""
    critical: tuple[Name, ...] = ()
    """Task types whose answers are stored only when the verifier confirms them. What a caller stores isn't verified."""
    verifier: str = ""
    """The model alias that is asked whether an answer is right. Its calls cost money and are booked as such."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = [("rules", rule.task_type) for rule in self.rules]
        named += [("exemplars", group.task_type) for group in self.exemplars]
        named += [("critical", name) for name in self.critical]
        problems = [
            f"{where} name the unknown task type {name!r}; types lists those that are known"
            for where, name in dict.fromkeys(named)
            if name not in self.types
        ]
        if self.critical and not self.verifier:
            problems.append("critical needs a verifier")
        if problems:
            raise ValueError("; ".join(problems))
        return self
