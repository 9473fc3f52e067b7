"""The role that each call needs of its caller's credential."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import Message

from semcache.settings import Role
from semcache.v1 import semcache_pb2 as pb

ROLES: Mapping[type[Message], Role] = {
    pb.LookupRequest: "read",
    pb.LookupBatchRequest: "read",
    pb.ExplainRequest: "read",
    pb.ListEntriesRequest: "read",
    pb.GetStatsRequest: "read",
    pb.GetSavingsRequest: "read",
    pb.CompleteRequest: "write",
    pb.CompleteStreamRequest: "write",
    pb.StoreRequest: "write",
    pb.StoreBatchRequest: "write",
    pb.ReportVerdictRequest: "write",
    pb.InvalidateRequest: "admin",
}
"""The role of each call, by its request message: a call without a row can't be served, and a test asks for the row.

Complete spends money and stores its answer, so it is a write. A Lookup that asks for a lease needs `LEASE_ROLE` too.
"""

ALWAYS_SERVED: frozenset[type[Message]] = frozenset(
    {pb.ReportVerdictRequest, pb.InvalidateRequest, pb.GetStatsRequest, pb.GetSavingsRequest}
)
"""Calls that are never refused for load: they stop wrong answers, and tell an operator what goes on."""

LEASE_ROLE: Role = "write"
"""Others wait for the holder of a lease, who has to be able to store the answer."""
