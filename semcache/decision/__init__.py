"""Decide which candidate, if any, answers a request, and why. Everything here is pure.

Guards compare a request's text with an entry's and may veto. A policy judges the evidence on each candidate.
"""

from semcache.decision.decide import Decider, score_of
from semcache.decision.detail import detail, store_detail
from semcache.decision.guards import GUARDS, Guard
from semcache.decision.policies import POLICIES, Policy, ThresholdPolicy, policy_of
from semcache.decision.reading import Reading, read

__all__ = [
    "GUARDS",
    "POLICIES",
    "Decider",
    "Guard",
    "Policy",
    "Reading",
    "ThresholdPolicy",
    "detail",
    "policy_of",
    "read",
    "score_of",
    "store_detail",
]
