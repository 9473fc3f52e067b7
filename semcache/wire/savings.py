"""GetSavings: from the message to a window of whole hours and its groups, and from the sums to the response."""

from __future__ import annotations

import math
from collections.abc import Iterable

from semcache.costs.budgets import Balance, BudgetState
from semcache.errors import InvalidRequestError, PermissionDeniedError
from semcache.finance.savings import SavingsAnswer, SavingsGroup, SavingsQuery, SavingsRow
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.checks import wall_seconds
from semcache.wire.outgoing import request_counts, timestamp, usage_message
from semcache.wire.texts import utf8

HOUR_S = 3600

_GROUPS: dict[int, SavingsGroup] = {
    pb.SAVINGS_GROUP_HOUR: SavingsGroup.HOUR,
    pb.SAVINGS_GROUP_DAY: SavingsGroup.DAY,
    pb.SAVINGS_GROUP_MODEL: SavingsGroup.MODEL,
    pb.SAVINGS_GROUP_TASK_TYPE: SavingsGroup.TASK_TYPE,
    pb.SAVINGS_GROUP_TENANT: SavingsGroup.TENANT,
}


_BUDGET_STATES = {
    BudgetState.OPEN: pb.BUDGET_STATE_OPEN,
    BudgetState.WARNING: pb.BUDGET_STATE_WARNING,
    BudgetState.DEGRADING: pb.BUDGET_STATE_DEGRADING,
    BudgetState.EXHAUSTED: pb.BUDGET_STATE_EXHAUSTED,
}


def savings_query(message: pb.GetSavingsRequest, *, tenant: str, reads_all: bool, now_s: float) -> SavingsQuery:
    """Return what a GetSavings asks for. Without a start the window begins in 1970.

    Args:
        message: the request.
        tenant: the caller's tenant.
        reads_all: the caller may read other tenants' savings.
        now_s: wall-clock seconds.

    Raises:
        InvalidRequestError: the window is empty, `group_by` names an unknown, repeated or contradictory group, or
            `tenants` are named beside `all_tenants`.
        PermissionDeniedError: the message names another tenant, whose savings the caller may not read.
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
    # Without an end the window includes the present hour, even in its first moment.
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


def savings_response(
    query: SavingsQuery, answer: SavingsAnswer, budgets: Iterable[Balance], *, request_id: str
) -> pb.GetSavingsResponse:
    """Return the message of a GetSavings.

    Args:
        query: the window that was asked for.
        answer: what was spent and saved in it.
        budgets: the caller's own.
        request_id: this call's id.
    """
    return pb.GetSavingsResponse(
        request_id=request_id,
        start_time=timestamp(query.start_s),
        end_time=timestamp(query.end_s),
        rows=[_row(row) for row in answer.savings.rows],
        total=_row(answer.savings.total),
        durable_through=timestamp(answer.durable_through_s),
        budgets=[_budget(balance) for balance in budgets],
    )


def _row(row: SavingsRow) -> pb.SavingsRow:
    return pb.SavingsRow(
        period_start_time=None if row.period_start_s is None else timestamp(row.period_start_s),
        model=utf8(row.model),
        task_type=utf8(row.task_type),
        requests=request_counts(row.requests),
        spent_usage=usage_message(row.spent_usage),
        saved_usage=usage_message(row.saved_usage),
        spent_nanousd=row.spent_nanousd,
        spent_input_nanousd=row.spent_input_nanousd,
        spent_cached_input_nanousd=row.spent_cached_input_nanousd,
        spent_output_nanousd=row.spent_output_nanousd,
        saved_nanousd=row.saved_nanousd,
        overhead_nanousd=row.overhead_nanousd,
        saved_net_nanousd=row.net_saved_nanousd,
        unpriced_count=row.unpriced,
        estimated_count=row.estimated,
        savings_percent=row.savings_percent,
        tenant=utf8(row.tenant),
        wrong_hits=row.wrong_hits,
        partly_priced_count=row.partly_priced,
    )


def _budget(balance: Balance) -> pb.BudgetStatus:
    _, model = balance.scope
    return pb.BudgetStatus(
        name=utf8(balance.budget.name),
        period=balance.period.name,
        start_time=timestamp(balance.period.start_s),
        reset_time=timestamp(balance.period.end_s),
        limit_nanousd=balance.limit_nanousd,
        spent_nanousd=balance.spent_nanousd,
        reserved_nanousd=balance.reserved_nanousd,
        state=_BUDGET_STATES[balance.state],
        model=utf8(model or balance.budget.model or ""),
    )
