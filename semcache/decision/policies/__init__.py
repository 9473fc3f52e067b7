"""Policies: each judges whether the evidence on a candidate is enough to serve it. The setting names the policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from semcache.decision.policies.policy import Policy
from semcache.decision.policies.threshold import ThresholdPolicy
from semcache.decision.repeats import Repeats
from semcache.errors import SettingsError
from semcache.settings import DecisionSettings

POLICIES: Mapping[str, Callable[[DecisionSettings, Repeats], Policy]] = {"threshold": ThresholdPolicy}
"""What builds a policy from the settings and the known repeats, by the name that `decision.policy` gives."""


def policy_of(settings: DecisionSettings, repeats: Repeats) -> Policy:
    """Build the policy that `decision.policy` names.

    Args:
        settings: the policy's name and its thresholds.
        repeats: how often requests of a namespace come again.

    Raises:
        SettingsError: no policy has this name.
    """
    build = POLICIES.get(settings.policy)
    if build is None:
        known = ", ".join(POLICIES)
        raise SettingsError([f"decision.policy: there is no policy {settings.policy!r}, only {known}"])
    return build(settings, repeats)


__all__ = ["POLICIES", "Policy", "ThresholdPolicy", "policy_of"]
