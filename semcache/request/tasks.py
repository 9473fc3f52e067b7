"""What kind of task a request is, and how complex: said by the caller, found by rule, or by the nearest exemplar."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semcache.model import KeyedRequest, Task, Vector
from semcache.settings import ComplexityRule, TaskSettings


class Tasks:
    """Names task types and complexities. Rules are tried in their order, and the first that matches counts.

    Args:
        settings: the rules and exemplars.
        exemplars: the exemplars' vectors, shape (n, dimension), unit length, in the order of `exemplar_texts`; None
            where there are none.
    """

    def __init__(self, settings: TaskSettings, exemplars: NDArray[np.float32] | None = None) -> None:
        self._rules = [(rule.task_type, re.compile(rule.pattern, re.IGNORECASE)) for rule in settings.rules]
        self._complexity = [_Complexity(rule) for rule in settings.complexity]
        self._exemplars = exemplars
        self._types = [group.task_type for group in settings.exemplars for _ in group.texts]
        self._least = settings.exemplar_similarity

    @property
    def by_exemplars(self) -> bool:
        """Whether there are exemplars, so that a request that no rule knows has to be embedded."""
        return self._exemplars is not None

    def by_rule(self, keyed: KeyedRequest) -> Task:
        """What is known without an embedding."""
        named = keyed.request.task_type
        if named:
            return self._complete(keyed, named, "request")
        for task_type, pattern in self._rules:
            if pattern.search(keyed.text):
                return self._complete(keyed, task_type, "rule")
        return self._complete(keyed, "", "")

    def by_exemplar(self, keyed: KeyedRequest, vector: Vector) -> Task:
        """The task type of the exemplar nearest to a vector, if it is near enough."""
        if self._exemplars is None:
            return keyed.task
        similarities = self._exemplars @ vector
        nearest = int(similarities.argmax())
        if similarities[nearest] < self._least:
            return keyed.task
        return self._complete(keyed, self._types[nearest], "exemplar")

    def _complete(self, keyed: KeyedRequest, task_type: str, reason: str) -> Task:
        for rule in self._complexity:
            why = rule.why(keyed, task_type)
            if why:
                return Task(task_type, reason, rule.complexity, why)
        return Task(task_type, reason)


class _Complexity:
    """One rule; all that it names must hold."""

    def __init__(self, rule: ComplexityRule) -> None:
        self.complexity = rule.complexity
        self._min_chars = rule.min_chars
        self._pattern = None if rule.pattern is None else re.compile(rule.pattern, re.IGNORECASE)
        self._task_types = frozenset(rule.task_types)

    def why(self, keyed: KeyedRequest, task_type: str) -> str:
        """What decided, as a stable token; empty where the rule doesn't hold."""
        if self._task_types and task_type not in self._task_types:
            return ""
        if self._min_chars is not None and keyed.prompt_chars < self._min_chars:
            return ""
        if self._pattern is not None:
            return "pattern" if self._pattern.search(keyed.text) else ""
        return "length" if self._min_chars is not None else "task_type" if self._task_types else "default"


def exemplar_texts(settings: TaskSettings) -> Sequence[str]:
    """The texts to embed at the start."""
    return [text for group in settings.exemplars for text in group.texts]
