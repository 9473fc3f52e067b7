"""The threshold policy: serve a candidate that no guard vetoes and whose score reaches a fixed threshold."""

from __future__ import annotations

from semcache.decision.repeats import Repeats
from semcache.model import Bound, Evidence, Judgement, Request
from semcache.settings import DecisionSettings


class ThresholdPolicy:
    """One threshold, with overrides by namespace and task type; the most specific override wins.

    A namespace without an override whose repeats are few has a higher threshold: where few requests repeat another,
    most of those that look so are traps.
    """

    def __init__(self, settings: DecisionSettings, repeats: Repeats) -> None:
        self._default = settings.threshold
        self._few_repeats = max(settings.threshold, settings.few_repeats_threshold)
        self._repeats = repeats
        self._overrides = {(item.namespace, item.task_type): item.threshold for item in settings.overrides}

    def bound(self, request: Request) -> Bound:
        """Return the configured threshold, or the request's own where it is higher."""
        threshold, rule = self._configured(request)
        wanted = request.control.similarity_threshold
        if wanted is None:
            return Bound(threshold, rule)
        if wanted < threshold:
            return Bound(threshold, "clamped_to_" + rule)
        return Bound(wanted, "request_threshold")

    def judge(self, evidence: Evidence) -> Judgement:
        """Serve a candidate that is not vetoed and whose score reaches the threshold."""
        if evidence.is_vetoed:
            return evidence.judgement("vetoed", served=False)
        if not evidence.bound.admits(evidence.score):
            return evidence.judgement("below_threshold", served=False)
        return evidence.judgement("above_threshold", served=True)

    def _configured(self, request: Request) -> tuple[float, str]:
        namespace, task_type = request.namespace, request.task_type
        for key in ((namespace, task_type), (namespace, ""), ("", task_type)):
            if key in self._overrides and key != ("", ""):
                return self._overrides[key], _rule(*key)
        if self._few_repeats > self._default and self._repeats.are_few(request.tenant, namespace):
            return self._few_repeats, "few_repeats_threshold"
        return self._default, "threshold"


def _rule(namespace: str, task_type: str) -> str:
    """Return the rule of an override by the fields that it names."""
    if namespace and task_type:
        return "namespace_and_task_threshold"
    return "namespace_threshold" if namespace else "task_threshold"
