"""What a GetSavings asks for → a window of whole hours and its groups."""

from __future__ import annotations

import math
from dataclasses import dataclass

from semcache.costs.savings import SavingsGroup
from semcache.errors import InvalidRequestError
from semcache.server.wire_checks import wall_seconds
from semcache.v1 import semcache_pb2 as pb

HOUR_S = 3600

_GROUPS: dict[int, SavingsGroup] = {
    pb.SAVINGS_GROUP_HOUR: SavingsGroup.HOUR,
    pb.SAVINGS_GROUP_DAY: SavingsGroup.DAY,
    pb.SAVINGS_GROUP_MODEL: SavingsGroup.MODEL,
    pb.SAVINGS_GROUP_TASK_TYPE: SavingsGroup.TASK_TYPE,
}


@dataclass(frozen=True, slots=True)
class SavingsQuery:
    """A window of whole hours, wall-clock seconds, [start, end), and what to show of it; empty filters let all pass."""

    start_s: int
    end_s: int
    models: frozenset[str]
    task_types: frozenset[str]
    group_by: tuple[SavingsGroup, ...]


def savings_query(message: pb.GetSavingsRequest, *, now_s: float) -> SavingsQuery:
    """What a GetSavings asks for; `now_s` is wall-clock seconds. Without a start it begins in 1970.

    Raises:
        InvalidRequestError: the window is empty, or `group_by` names an unknown, repeated or contradictory group.
    """
    start_s = wall_seconds(message.start_time, "start_time") if message.HasField("start_time") else 0.0
    end_s = wall_seconds(message.end_time, "end_time") if message.HasField("end_time") else now_s
    if end_s <= start_s:
        raise InvalidRequestError("end_time must be after start_time.", hint="Swap them, or leave one out.")
    if any(group not in _GROUPS for group in message.group_by):
        raise InvalidRequestError("group_by has an unknown group.", hint="Use HOUR, DAY, MODEL or TASK_TYPE.")
    groups = tuple(_GROUPS[group] for group in message.group_by)
    if len(set(groups)) < len(groups) or {SavingsGroup.HOUR, SavingsGroup.DAY} <= set(groups):
        raise InvalidRequestError("group_by names a group twice, or both HOUR and DAY.", hint="Name each once.")
    return SavingsQuery(
        start_s=math.floor(start_s / HOUR_S) * HOUR_S,
        end_s=math.ceil(end_s / HOUR_S) * HOUR_S,
        models=frozenset(message.models),
        task_types=frozenset(message.task_types),
        group_by=groups,
    )
