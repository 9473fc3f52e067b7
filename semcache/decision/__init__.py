"""Pure: candidates in, a decision with its reason out. Guards veto, a policy sets the bound."""

from semcache.decision.decide import Decider
from semcache.decision.guards import GUARDS, Guard, features_of
from semcache.decision.policy import Bound, ThresholdPolicy

__all__ = ["GUARDS", "Bound", "Decider", "Guard", "ThresholdPolicy", "features_of"]
