"""Policies: what similarity a request demands of a candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from semcache.model import Request
from semcache.settings import DecisionSettings


@dataclass(frozen=True, slots=True)
class Bound:
    """The similarity (cosine) a candidate must reach, and the rule that set it (a stable snake_case token)."""

    threshold: float
    rule: str


class Policy(Protocol):
    """Sets the bound for a request; `threshold` is the first of them."""

    def bound(self, request: Request) -> Bound:
        """The bound for `request`; a caller's own threshold can only raise it."""
        ...


class ThresholdPolicy:
    """One static threshold, with overrides by namespace and task type; the most specific wins."""

    def __init__(self, settings: DecisionSettings) -> None:
        self._default = settings.threshold
        self._overrides = {(item.namespace, item.task_type): item.threshold for item in settings.overrides}

    def bound(self, request: Request) -> Bound:
        """See `Policy.bound`."""
        threshold, rule = self._configured(request)
        wanted = request.control.similarity_threshold
        if wanted is None:
            return Bound(threshold, rule)
        if wanted < threshold:
            return Bound(threshold, "clamped_to_" + rule)
        return Bound(wanted, "request_threshold")

    def _configured(self, request: Request) -> tuple[float, str]:
        for key, rule in (
            ((request.namespace, request.task_type), "namespace_and_task_threshold"),
            ((request.namespace, ""), "namespace_threshold"),
            (("", request.task_type), "task_threshold"),
        ):
            if key in self._overrides and key != ("", ""):
                return self._overrides[key], rule
        return self._default, "threshold"
