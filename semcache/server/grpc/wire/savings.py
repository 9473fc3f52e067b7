"""What a GetSavings asks for → a window of whole hours and its groups."""

from __future__ import annotations

import math
from dataclasses import dataclass

from semcache.errors import InvalidRequestError, PermissionDeniedError
from semcache.finance.savings import SavingsGroup
from semcache.server.grpc.wire.checks import wall_seconds
from semcache.v1 import semcache_pb2 as pb

HOUR_S = 3600

_GROUPS: dict[int, SavingsGroup] = {
    pb.SAVINGS_GROUP_HOUR: SavingsGroup.HOUR,
    pb.SAVINGS_GROUP_DAY: SavingsGroup.DAY,
    pb.SAVINGS_GROUP_MODEL: SavingsGroup.MODEL,
    pb.SAVINGS_GROUP_TASK_TYPE: SavingsGroup.TASK_TYPE,
    pb.SAVINGS_GROUP_TENANT: SavingsGroup.TENANT,
}


@dataclass(frozen=True, slots=True)
class SavingsQuery:
    """A window of whole hours, wall-clock seconds, [start, end), and what to show of it; empty filters let all pass."""

    start_s: int
    end_s: int
    models: frozenset[str]
    task_types: frozenset[str]
    group_by: tuple[SavingsGroup, ...]
    tenants: frozenset[str] | None
    """None: all."""


def savings_query(message: pb.GetSavingsRequest, *, tenant: str, reads_all: bool, now_s: float) -> SavingsQuery:
    """What a GetSavings asks for. Without a start it begins in 1970.

    Args:
        message: the request.
        tenant: who asks.
        reads_all: whether it may be told of other tenants.
        now_s: wall-clock seconds.

    Raises:
        InvalidRequestError: the window is empty, `group_by` names an unknown, repeated or contradictory group, or
            `tenants` are named beside `all_tenants`.
        PermissionDeniedError: it asks for another tenant's and may not.
    """
    if message.all_tenants and message.tenants:
        raise InvalidRequestError("tenants are named beside all_tenants.", hint="Leave one of them out.")
    tenants = None if message.all_tenants else frozenset(message.tenants or (tenant,))
    if not reads_all and (tenants is None or not tenants <= {tenant}):
        raise PermissionDeniedError(
            "The caller may read its own tenant's savings alone.",
            reason="OTHER_TENANTS_SAVINGS",
            hint="auth.read_all_savings names the tenants that may read all.",
        )
    start_s = wall_seconds(message.start_time, "start_time") if message.HasField("start_time") else 0.0
    # Without an end the present hour is in it, however young it is.
    end_s = (
        wall_seconds(message.end_time, "end_time") if message.HasField("end_time") else math.nextafter(now_s, math.inf)
    )
    if end_s <= start_s:
        raise InvalidRequestError("end_time must be after start_time.", hint="Swap them, or leave one out.")
    if any(group not in _GROUPS for group in message.group_by):
        raise InvalidRequestError("group_by has an unknown group.", hint="Use HOUR, DAY, MODEL, TASK_TYPE or TENANT.")
    groups = tuple(_GROUPS[group] for group in message.group_by)
    if len(set(groups)) < len(groups) or {SavingsGroup.HOUR, SavingsGroup.DAY} <= set(groups):
        raise InvalidRequestError("group_by names a group twice, or both HOUR and DAY.", hint="Name each once.")
    return SavingsQuery(
        start_s=math.floor(start_s / HOUR_S) * HOUR_S,
        end_s=math.ceil(end_s / HOUR_S) * HOUR_S,
        models=frozenset(message.models),
        task_types=frozenset(message.task_types),
        group_by=groups,
        tenants=tenants,
    )
