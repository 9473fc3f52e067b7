"""Plays a stream through a server: so many callers at once, at the stream's own pace or as fast as they can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from semcache.client import Client, ClientError
from semcache.client.arguments import CompleteArguments
from semcache.evaluation.replay.streams import StreamedRequest
from semcache.model import Status
from semcache.ports import Clock

_FATAL = frozenset({"UNREACHABLE", "UNAUTHENTICATED"})


@dataclass(frozen=True, slots=True)
class Answered:
    """What the caller saw of one request.

    Attributes:
        request: what was asked.
        status: how it ended; ERROR for a failed call.
        latency_s: from sending it to its answer.
        late_s: how much later than its time it was sent: all callers were busy. 0 without a pace.
        entry_id: the entry that was served or made; empty for none.
        stored: this request's answer became the entry.
        spent_nanousd: what the upstream charged.
        saved_nanousd: what it would have charged and didn't.
        error: the failure's reason; empty for none.
    """

    request: StreamedRequest
    status: Status
    latency_s: float
    late_s: float = 0.0
    entry_id: str = ""
    stored: bool = False
    spent_nanousd: int = 0
    saved_nanousd: int = 0
    error: str = ""


def due_times(requests: Sequence[StreamedRequest], speed: float | None) -> tuple[float, ...]:
    """When each request is to be sent, seconds after the first one: as they came, `speed` times as fast.

    All at 0 without a speed, or where nobody knows when they came.
    """
    start_s = requests[0].at_s if requests else None
    if speed is None or start_s is None:
        return (0.0,) * len(requests)
    return tuple(((request.at_s or start_s) - start_s) / speed for request in requests)


async def play_stream(
    client: Client,
    requests: Sequence[StreamedRequest],
    *,
    callers: int,
    speed: float | None,
    clock: Clock,
    on_answered: Callable[[], None],
) -> list[Answered]:
    """Send all requests in order, and wait for their answers.

    Args:
        client: of the server.
        requests: the stream.
        callers: at most so many are under way at once; those behind them are sent late.
        speed: how many times as fast as they came; None: as fast as the callers can.
        clock: monotonic seconds.
        on_answered: told of each answer.

    Returns:
        The answers in the order of the requests.

    Raises:
        ClientError: nobody answers, or the key isn't taken; other failures are counted.
    """
    answered: dict[int, Answered] = {}
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
        # Where nobody answers all callers fail alike: the first one says it.
        raise failures.exceptions[0] from failures
    return [answered[number] for number in range(len(requests))]


async def _call(client: Client, request: StreamedRequest, late_s: float, clock: Clock) -> Answered:
    started_s = clock.monotonic()
    try:
        answer = await client.complete(**_arguments(request))
    except ClientError as error:
        if error.reason in _FATAL:
            raise
        return Answered(request, Status.ERROR, clock.monotonic() - started_s, late_s, error=error.reason)
    outcome = answer.outcome
    return Answered(
        request,
        answer.status,
        clock.monotonic() - started_s,
        late_s,
        outcome.entry_id,
        outcome.stored,
        outcome.cost.total_nanousd,
        outcome.saved.total_nanousd,
    )


def _arguments(request: StreamedRequest) -> CompleteArguments:
    arguments = CompleteArguments(openai_json=request.body, namespace=request.namespace, task_type=request.task_type)
    if request.template_id:
        arguments["template"] = request.template_id
        arguments["slots"] = dict(request.slots)
    return arguments
