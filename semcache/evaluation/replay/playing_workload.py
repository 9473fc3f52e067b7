"""Plays a workload through a server: many callers at once, at the workload's own pace or as fast as they can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from semcache.client import Client, ClientError
from semcache.client.arguments import CompleteArguments
from semcache.evaluation.replay.workload import WorkloadRequest
from semcache.model import Status
from semcache.ports import Clock

_FATAL = frozenset({"UNREACHABLE", "UNAUTHENTICATED"})
"""Reasons that all later calls would share: they end the replay instead of being counted."""


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """One request as its caller saw it.

    Attributes:
        request: the request.
        status: its status; ERROR for a failed call.
        latency_s: seconds from sending it to its answer.
        late_s: seconds by which it was sent after its time, because all callers were busy; 0 without a pace.
        entry_id: the entry that was served or made; empty for none.
        stored: whether this request's answer became the entry.
        spent_nanousd: nanodollars that the upstream charged.
        saved_nanousd: nanodollars that the upstream would have charged for a hit.
        error: the failure's reason; empty for none.
        failure: the failure in words, with its way out; empty for none.
    """

    request: WorkloadRequest
    status: Status
    latency_s: float
    late_s: float = 0.0
    entry_id: str = ""
    stored: bool = False
    spent_nanousd: int = 0
    saved_nanousd: int = 0
    error: str = ""
    failure: str = ""


def due_times(requests: Sequence[WorkloadRequest], speed: float | None) -> tuple[float, ...]:
    """Return when to send each request, in seconds after the first: as they arrived, but `speed` times as fast.

    All times are 0 if there is no speed, or if the workload has no arrival times.
    """
    start_s = requests[0].at_s if requests else None
    if speed is None or start_s is None:
        return (0.0,) * len(requests)
    return tuple(((request.at_s or start_s) - start_s) / speed for request in requests)


async def play_workload(
    client: Client,
    requests: Sequence[WorkloadRequest],
    *,
    callers: int,
    speed: float | None,
    clock: Clock,
    on_answered: Callable[[], None],
) -> list[AnsweredRequest]:
    """Send all requests in order, and wait for their answers.

    Args:
        client: a client of the server.
        requests: the workload.
        callers: the number of requests that may be under way at once; the requests behind them are sent late.
        speed: the multiple of the workload's own pace; None sends as fast as the callers can.
        clock: gives monotonic seconds.
        on_answered: called after each answer.

    Returns:
        The answers in the order of the requests.

    Raises:
        ClientError: no server answers, or it refuses the API key. Other failures are results with the status ERROR.
    """
    answered: dict[int, AnsweredRequest] = {}
    due = due_times(requests, speed)
    waiting = iter(range(len(requests)))
    start_s = clock.monotonic()

    async def call_in_turn(shared: Iterator[int]) -> None:
        for number in shared:
            ahead_s = start_s + due[number] - clock.monotonic()
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            late_s = max(0.0, -ahead_s) if speed is not None and requests[number].at_s is not None else 0.0
            answered[number] = await _call(client, requests[number], late_s, clock)
            on_answered()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(callers, max(1, len(requests)))):
                group.create_task(call_in_turn(waiting))
    except ExceptionGroup as failures:
        # If no server answers, all callers fail for that reason, so the first failure is enough.
        raise failures.exceptions[0] from failures
    return [answered[number] for number in range(len(requests))]


async def _call(client: Client, request: WorkloadRequest, late_s: float, clock: Clock) -> AnsweredRequest:
    started_s = clock.monotonic()
    try:
        answer = await client.complete(**_arguments(request))
    except ClientError as error:
        if error.reason in _FATAL:
            raise
        latency_s = clock.monotonic() - started_s
        return AnsweredRequest(request, Status.ERROR, latency_s, late_s, error=error.reason, failure=str(error))
    outcome = answer.outcome
    return AnsweredRequest(
        request,
        answer.status,
        clock.monotonic() - started_s,
        late_s,
        outcome.entry_id,
        outcome.stored,
        outcome.cost.total_nanousd,
        outcome.saved.total_nanousd,
    )


def _arguments(request: WorkloadRequest) -> CompleteArguments:
    arguments = CompleteArguments(openai_json=request.body, namespace=request.namespace, task_type=request.task_type)
    if request.template_id:
        arguments["template"] = request.template_id
        arguments["slots"] = dict(request.slots)
    return arguments
