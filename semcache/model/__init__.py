"""The values that travel through semcache: frozen, free of behaviour that needs a library beyond numpy.

What each request makes anew is a named tuple: a frozen dataclass takes three times as long to make.
"""

from semcache.model.answer import NORMAL, Answer, Mode, UpstreamCall
from semcache.model.decision import Candidate, Decision, Effect, Explanation, GuardVerdict, Judgement, Neighbour
from semcache.model.entry import (
    Changes,
    Deposit,
    Deposited,
    Entry,
    Lease,
    Rejection,
    Selector,
    format_entry_id,
    parse_entry_id,
)
from semcache.model.ledger import LedgerHour, LedgerRecord, Purpose, ServedHit
from semcache.model.money import NANOUSD_PER_USD, NO_COST, NO_USAGE, ZERO_COST, Cost, Usage
from semcache.model.request import (
    NO_TASK,
    Cacheability,
    CacheControl,
    CacheMode,
    KeyedRequest,
    Request,
    Task,
    Template,
    Tier,
    canonical_json,
)
from semcache.model.response import Finished, Invalidated, LookupResult, Response, Started, VerdictOutcome
from semcache.model.snapshot import EmbedderStats, IndexSize, IndexStats, QueueStats, Snapshot, StoreStats
from semcache.model.status import HIT_STATUSES, Status, hit_ratio
from semcache.model.vector import Vector

__all__ = [
    "HIT_STATUSES",
    "NANOUSD_PER_USD",
    "NORMAL",
    "NO_COST",
    "NO_TASK",
    "NO_USAGE",
    "ZERO_COST",
    "Answer",
    "CacheControl",
    "CacheMode",
    "Cacheability",
    "Candidate",
    "Changes",
    "Cost",
    "Decision",
    "Deposit",
    "Deposited",
    "Effect",
    "EmbedderStats",
    "Entry",
    "Explanation",
    "Finished",
    "GuardVerdict",
    "IndexSize",
    "IndexStats",
    "Invalidated",
    "Judgement",
    "KeyedRequest",
    "Lease",
    "LedgerHour",
    "LedgerRecord",
    "LookupResult",
    "Mode",
    "Neighbour",
    "Purpose",
    "QueueStats",
    "Rejection",
    "Request",
    "Response",
    "Selector",
    "ServedHit",
    "Snapshot",
    "Started",
    "Status",
    "StoreStats",
    "Task",
    "Template",
    "Tier",
    "UpstreamCall",
    "Usage",
    "Vector",
    "VerdictOutcome",
    "canonical_json",
    "format_entry_id",
    "hit_ratio",
    "parse_entry_id",
]
