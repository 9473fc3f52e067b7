"""Name the task type and the complexity of a request: by the caller, by a rule, or by the nearest exemplar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semcache.model import KeyedRequest, Task, Vector
from semcache.request.patterns import Patterns
from semcache.settings import ComplexityRule, TaskSettings


class Tasks:
    """Names task types and complexities. Rules are tried in order, and the first that matches counts.

    Args:
        settings: the rules and exemplars.
        exemplars: the exemplars' vectors, shape (n, dimension), unit length, in the order of `exemplar_texts`; None
            where there are no exemplars.
    """

    def __init__(self, settings: TaskSettings, exemplars: NDArray[np.float32] | None = None) -> None:
        self._rules = settings.rules
        self._complexity = settings.complexity
        # One search covers all patterns: first those of the rules, then those of the complexities, each in order.
        self._patterns = Patterns(
            [rule.pattern for rule in settings.rules] + [rule.pattern or "" for rule in settings.complexity]
        )
        self._exemplars = exemplars
        self._types = [group.task_type for group in settings.exemplars for _ in group.texts]
        self._min_similarity = settings.exemplar_similarity

    @property
    def by_exemplars(self) -> bool:
        """Whether there are exemplars: then a request that no rule matches needs an embedding."""
        return self._exemplars is not None

    def by_rule(self, keyed: KeyedRequest) -> Task:
        """Return the task by the caller's word, else by the first rule that matches; no embedding is needed."""
        matches = self._patterns.find(keyed.text)
        task_type = keyed.request.task_type
        if task_type:
            return self._complete(keyed, task_type, "request", matches)
        if matches and matches[0] < len(self._rules):
            return self._complete(keyed, self._rules[matches[0]].task_type, "rule", matches)
        return self._complete(keyed, "", "", matches)

    def by_exemplar(self, keyed: KeyedRequest, vector: Vector) -> Task:
        """Return the task with the type of the exemplar nearest to `vector`, or the request's task if none is near.

        Args:
            keyed: the request.
            vector: its embedding, shape (dimension,), unit length.
        """
        if self._exemplars is None:
            return keyed.task
        similarities = self._exemplars @ vector
        nearest = int(similarities.argmax())
        if similarities[nearest] < self._min_similarity:
            return keyed.task
        return self._complete(keyed, self._types[nearest], "exemplar", self._patterns.find(keyed.text))

    def _complete(self, keyed: KeyedRequest, task_type: str, reason: str, matches: Sequence[int]) -> Task:
        """Return a task with the complexity of the first rule that applies; `matches` are the matching patterns."""
        for position, rule in enumerate(self._complexity, start=len(self._rules)):
            if (
                (not rule.task_types or task_type in rule.task_types)
                and (rule.min_chars is None or keyed.prompt_chars >= rule.min_chars)
                and (rule.pattern is None or position in matches)
            ):
                return Task(task_type, reason, rule.complexity, _complexity_reason(rule))
        return Task(task_type, reason)


def _complexity_reason(rule: ComplexityRule) -> str:
    """Return which condition of a rule decided, as a stable token: its most specific one."""
    if rule.pattern is not None:
        return "pattern"
    if rule.min_chars is not None:
        return "length"
    return "task_type" if rule.task_types else "default"


def exemplar_texts(settings: TaskSettings) -> Sequence[str]:
    """Return the exemplars' texts, to be embedded at the start."""
    return [text for group in settings.exemplars for text in group.texts]
