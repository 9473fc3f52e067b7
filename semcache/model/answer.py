"""One whole answer of an upstream, the call that asks for it, and the upstream's mode."""

from __future__ import annotations

from dataclasses import dataclass

from semcache.model.money import Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer of an upstream.

    Attributes:
        body: the `chat.completion` JSON as the upstream sent it, or assembled from its stream.
        model: the model that the upstream says it used.
        target_model: the model that was asked of the target (the route's); a hit requires it to be still routed.
        route: the target's name, empty for an answer that a caller stored.
        tool_calls: the answer calls tools or functions.
    """

    body: bytes
    model: str
    finish_reason: str
    usage: Usage
    text: str = ""
    target_model: str = ""
    route: str = ""
    degraded: bool = False
    tool_calls: bool = False
    latency_s: float = 0.0
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class UpstreamCall:
    """What an upstream needs to answer: the body as the caller sent it, and when to give up (monotonic seconds).

    Attributes:
        task_type: chooses among the alias's routes; empty when unknown.
        complexity: the same.
        degraded: the route's degraded alias is asked first.
        barred: models that may not be asked now, whoever runs them (a budget bars them).
    """

    alias: str
    body: bytes
    deadline_s: float
    request_id: str
    task_type: str = ""
    complexity: str = ""
    degraded: bool = False
    barred: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Mode:
    """How the upstream runs now: whether degraded, why, and by which measures (`settings.DegradedSettings`)."""

    active: bool = False
    reason: str = ""
    measures: frozenset[str] = frozenset()


NORMAL = Mode()
