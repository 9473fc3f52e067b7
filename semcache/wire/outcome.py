"""What happened to a request, written into the outcome of its response."""

from __future__ import annotations

from collections.abc import Sequence

from semcache.model import (
    NO_COST,
    NO_TASK,
    NO_USAGE,
    ZERO_COST,
    Cost,
    Effect,
    GuardVerdict,
    Response,
    Status,
    Task,
    Usage,
    format_entry_id,
)
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.texts import utf8

NANOS_PER_S = 1_000_000_000

STATUSES: dict[Status, pb.Status.ValueType] = {
    Status.EXACT_HIT: pb.STATUS_EXACT_HIT,
    Status.SEMANTIC_HIT: pb.STATUS_SEMANTIC_HIT,
    Status.COALESCED: pb.STATUS_COALESCED,
    Status.MISS: pb.STATUS_MISS,
    Status.BYPASS: pb.STATUS_BYPASS,
    Status.REFRESH: pb.STATUS_REFRESH,
    Status.STALE: pb.STATUS_STALE,
}

_ACTIONS: dict[Effect, pb.GuardAction.ValueType] = {
    Effect.PASS: pb.GUARD_ACTION_PASS,
    Effect.FEATURE: pb.GUARD_ACTION_FEATURE,
    Effect.VETO: pb.GUARD_ACTION_VETO,
}


def fill_outcome(message: pb.Outcome, response: Response) -> None:
    """Fill an empty outcome where it stands in its response.

    Protobuf would copy parts that were built as messages of their own, which takes twice as long.
    """
    fill_passing(message, response)
    fill_lasting(message, response)


def fill_passing(message: pb.Outcome, response: Response) -> None:
    """Fill in the fields that differ from hit to hit (`hits.PASSING_FIELDS`). `fill_lasting` fills none of them."""
    message.request_id = response.request_id
    message.hit_id = response.hit_id
    if response.age_s is not None:
        message.age.seconds, message.age.nanos = seconds_and_nanos(response.age_s)
        message.age.SetInParent()  # An age of 0 must be present, since it is known.
    for stage, seconds in response.stages:
        message.stage_timings.add(stage=stage, duration_ns=round(seconds * NANOS_PER_S))


def fill_lasting(message: pb.Outcome, response: Response) -> None:
    """Fill in the fields that are the same each time one entry is served to one request."""
    answer = response.answer
    message.status = STATUSES[response.status]
    message.reason = utf8(response.reason)
    message.requested_model = utf8(response.alias)
    if answer is not None:
        message.served_model = utf8(answer.model)
        message.route = utf8(answer.route)
        message.degraded = answer.degraded
    if response.entry_id:
        message.entry_id = format_entry_id(response.entry_id)
    if response.similarity is not None:
        message.similarity = response.similarity
    if response.detail:
        message.detail = utf8(response.detail)
    if response.stale_s is not None:
        message.stale_for.seconds, message.stale_for.nanos = seconds_and_nanos(response.stale_s)
        message.stale_for.SetInParent()
    if response.verdicts:
        message.guard_verdicts.extend(verdict_messages(response.verdicts))
    if response.effective_threshold is not None:
        message.effective_threshold = response.effective_threshold
    if response.task is not NO_TASK:
        _fill_task(message, response.task)
    fill_usage(message.usage, response.usage)
    fill_cost(message.cost, response.cost)
    fill_cost(message.saved, response.saved)
    message.stored = response.stored
    message.store_skipped_reason = utf8(response.store_reason)


def _fill_task(message: pb.Outcome, task: Task) -> None:
    message.task_type = utf8(task.task_type)
    message.task_type_reason = utf8(task.reason)
    message.complexity = utf8(task.complexity)
    message.complexity_reason = utf8(task.complexity_reason)


def fill_usage(message: pb.Usage, usage: Usage) -> None:
    """Fill an empty message with a call's tokens. The message is present even when all counts are 0."""
    message.SetInParent()
    if usage != NO_USAGE:
        message.input_tokens = usage.input_tokens
        message.cached_input_tokens = usage.cached_input_tokens
        message.output_tokens = usage.output_tokens
        message.estimated = usage.estimated
        message.cache_write_tokens = usage.cache_write_tokens
        message.service_tier = utf8(usage.service_tier)


def fill_cost(message: pb.Cost, cost: Cost) -> None:
    """Fill an empty message with a call's price. The message is present even when the price is 0."""
    message.SetInParent()
    message.priced = cost.priced
    if cost not in (ZERO_COST, NO_COST):
        message.input_nanousd = cost.input_nanousd
        message.cached_input_nanousd = cost.cached_input_nanousd
        message.output_nanousd = cost.output_nanousd
        message.total_nanousd = cost.total_nanousd
        message.price_version = utf8(cost.price_version)
        message.partly_priced = cost.partly_priced


def verdict_messages(verdicts: Sequence[GuardVerdict]) -> list[pb.GuardVerdict]:
    """Return the guards' verdicts on a candidate."""
    return [
        pb.GuardVerdict(
            guard=utf8(verdict.guard),
            action=_ACTIONS[verdict.effect],
            detail=utf8(verdict.detail),
            adjustment=verdict.adjustment,
        )
        for verdict in verdicts
    ]


def seconds_and_nanos(seconds: float) -> tuple[int, int]:
    """Return the two parts of a protobuf duration, to the nanosecond."""
    # Python's divmod rounds down, but the two parts of a Duration must have the same sign.
    whole, nanos = divmod(abs(round(seconds * NANOS_PER_S)), NANOS_PER_S)
    return (-whole, -nanos) if seconds < 0 else (whole, nanos)
