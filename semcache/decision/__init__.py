"""Pure: candidates in, a decision with its reason out. Guards veto, a policy sets the bound."""

from semcache.decision.decide import Decider, score_of
from semcache.decision.guards import GUARDS, Guard, features_of
from semcache.decision.pair import Reading
from semcache.decision.policy import Bound, ThresholdPolicy
from semcache.text.texts import Text

__all__ = ["GUARDS", "Bound", "Decider", "Guard", "Reading", "Text", "ThresholdPolicy", "features_of", "score_of"]
