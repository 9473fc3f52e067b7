"""Decide which candidate, if any, answers a request, and why.

- `decide.py` is the way through: it reads the texts, asks the guards, gathers the evidence and lets the policy judge.
- `reading.py` reads a text once for all guards. An entry's reading is stored with it.
- `guards/` compare the readings of a request and an entry. A new guard is a module there and a line in `GUARDS`.
- `policies/` judge the evidence on one candidate. A new policy is a module there and a line in `POLICIES`.
- `repeats.py` knows in which namespaces requests seldom repeat others. The story tells it of each request.
- `detail.py` writes the reason of an outcome as a sentence for people.

Everything else here is pure and runs on the event loop's thread; benchmarks/README.md has its time. The decider
remembers the readings of the last 512 texts, and `Repeats` a share of each of 10,000 namespaces.
"""

from semcache.decision.decide import Decider, Unservable, score_of
from semcache.decision.detail import EXACT_HIT_SENTENCE, detail, store_detail
from semcache.decision.guards import GUARDS, Guard
from semcache.decision.policies import POLICIES, Policy, ThresholdPolicy, policy_of
from semcache.decision.reading import Reading, read
from semcache.decision.repeats import Repeats

__all__ = [
    "EXACT_HIT_SENTENCE",
    "GUARDS",
    "POLICIES",
    "Decider",
    "Guard",
    "Policy",
    "Reading",
    "Repeats",
    "ThresholdPolicy",
    "Unservable",
    "detail",
    "policy_of",
    "read",
    "score_of",
    "store_detail",
]
