"""What kind of task a request is, and how complex: said by the caller, found by rule, or by the nearest exemplar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semcache.model import KeyedRequest, Task, Vector
from semcache.request.patterns import Patterns
from semcache.settings import ComplexityRule, TaskSettings


class Tasks:
    """Names task types and complexities. Rules are tried in their order, and the first that matches counts.

    Args:
        settings: the rules and exemplars.
        exemplars: the exemplars' vectors, shape (n, dimension), unit length, in the order of `exemplar_texts`; None
            where there are none.
    """

    def __init__(self, settings: TaskSettings, exemplars: NDArray[np.float32] | None = None) -> None:
        self._rules = settings.rules
        self._complexity = settings.complexity
        # One search for all: a rule's pattern is at its own position, a complexity's behind them at its.
        self._patterns = Patterns(
            [rule.pattern for rule in settings.rules] + [rule.pattern or "" for rule in settings.complexity]
        )
        self._exemplars = exemplars
        self._types = [group.task_type for group in settings.exemplars for _ in group.texts]
        self._least = settings.exemplar_similarity

    @property
    def by_exemplars(self) -> bool:
        """Whether there are exemplars, so that a request that no rule knows has to be embedded."""
        return self._exemplars is not None

    def by_rule(self, keyed: KeyedRequest) -> Task:
        """What is known without an embedding."""
        found = self._patterns.found(keyed.text)
        named = keyed.request.task_type
        if named:
            return self._complete(keyed, named, "request", found)
        if found and found[0] < len(self._rules):
            return self._complete(keyed, self._rules[found[0]].task_type, "rule", found)
        return self._complete(keyed, "", "", found)

    def by_exemplar(self, keyed: KeyedRequest, vector: Vector) -> Task:
        """The task type of the exemplar nearest to a vector, if it is near enough."""
        if self._exemplars is None:
            return keyed.task
        similarities = self._exemplars @ vector
        nearest = int(similarities.argmax())
        if similarities[nearest] < self._least:
            return keyed.task
        return self._complete(keyed, self._types[nearest], "exemplar", self._patterns.found(keyed.text))

    def _complete(self, keyed: KeyedRequest, task_type: str, reason: str, found: Sequence[int]) -> Task:
        for position, rule in enumerate(self._complexity, start=len(self._rules)):
            if (
                (not rule.task_types or task_type in rule.task_types)
                and (rule.min_chars is None or keyed.prompt_chars >= rule.min_chars)
                and (rule.pattern is None or position in found)
            ):
                return Task(task_type, reason, rule.complexity, _why(rule))
        return Task(task_type, reason)


def _why(rule: ComplexityRule) -> str:
    """What of a rule decided, as a stable token: the most particular that it names."""
    if rule.pattern is not None:
        return "pattern"
    if rule.min_chars is not None:
        return "length"
    return "task_type" if rule.task_types else "default"


def exemplar_texts(settings: TaskSettings) -> Sequence[str]:
    """The texts to embed at the start."""
    return [text for group in settings.exemplars for text in group.texts]
