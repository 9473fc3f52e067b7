"""Plays workloads through a real server: order, pace, labels, templates, failures."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from semcache.client import Client, ClientError
from semcache.evaluation.replay.playing_workload import AnsweredRequest, play_workload
from semcache.evaluation.replay.summary import summarize_replay
from semcache.evaluation.replay.workload import WorkloadRequest
from semcache.model import Status
from semcache.server.clock import SystemClock
from semcache.testing.serving import Served, serving


def request(prompt: str, label: str | None = None, **fields: object) -> WorkloadRequest:
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]}).encode()
    return WorkloadRequest(body, "gpt-4o-mini", "", label=label, **fields)  # type: ignore[arg-type]


async def play(
    served: Served, *requests: WorkloadRequest, callers: int = 1, speed: float | None = None
) -> list[AnsweredRequest]:
    answers: list[int] = []
    async with Client(served.address) as client:
        answered = await play_workload(
            client,
            requests,
            callers=callers,
            speed=speed,
            clock=SystemClock(),
            on_answered=lambda: answers.append(1),
        )
    assert len(answers) == len(requests)
    return answered


async def test_a_wrong_hit_is_one_made_for_another_label() -> None:
    async with serving({"decision": {"threshold": 0.5, "guards": ()}}) as served:
        answered = await play(
            served,
            request("How do I reset my password?", "reset"),
            request("How do I reset my password", "reset"),
            request("How do I change my password?", "change"),
            request("How do I reset my password?", "reset"),
        )
    assert [item.status for item in answered] == [
        Status.MISS,
        Status.SEMANTIC_HIT,
        Status.SEMANTIC_HIT,
        Status.EXACT_HIT,
    ]
    summary = summarize_replay(answered, 1.0)
    assert (summary.wrong.count, summary.wrong.of) == (1, 3)


async def test_many_callers_are_answered_in_the_workloads_order() -> None:
    requests = [request(f"a question about the number {n % 7}") for n in range(60)]
    async with serving() as served:
        answered = await play(served, *requests, callers=16)
    assert [item.request for item in answered] == requests
    summary = summarize_replay(answered, 1.0)
    assert summary.statuses[Status.MISS].requests == 7
    assert summary.hits.count == 53


async def test_a_pace_is_kept_and_what_is_late_says_so() -> None:
    requests = [request(f"question {n}", at_s=float(n)) for n in range(4)]
    async with serving() as served:
        answered = await play(served, *requests, callers=2, speed=100.0)
        hurried = await play(served, *requests, callers=1, speed=1e9)
    assert all(item.late_s < 1.0 for item in answered)
    assert all(item.late_s > 0.0 for item in hurried[1:])


async def test_namespaces_task_types_and_templates_reach_the_server() -> None:
    slots = (("question", "how do I reset the password of my account"),)
    async with serving() as served:
        await play(served, request(f"Answer: {slots[0][1]}", task_type="chat", template_id="faq", slots=slots))
        async with Client(served.address) as client:
            (entry,) = [entry async for entry in client.list_entries()]
    assert (entry.task_type, entry.template_id) == ("chat", "faq")


async def test_a_refused_request_is_counted_and_nobody_there_is_told() -> None:
    async with serving({"limits": {"prompt_chars": 20}}) as served:
        answered = await play(served, request("short"), request("x" * 30))
    assert [item.status for item in answered] == [Status.MISS, Status.ERROR]
    assert answered[1].error
    with pytest.raises(ClientError) as caught:
        await play(served, request("short"), callers=3)
    assert caught.value.reason == "UNREACHABLE"


@pytest.mark.parametrize(("limit", "code"), [(1, 1), (8, 0)])
async def test_a_replay_in_which_every_request_fails_ends_with_a_code(tmp_path: Path, limit: int, code: int) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("short\na longer prompt\n", "utf-8")
    async with serving({"limits": {"prompt_chars": limit}}) as served:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "semcache", "replay", str(file), "--address", served.address, "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    document = json.loads(output.splitlines()[-1])
    assert process.returncode == code
    assert document["statuses"]["error"]["requests"] == 1 + code
    failure = "All 2 requests failed. The first failure: The messages hold 5 characters; the limit is 1."
    assert (failure in errors.decode()) is bool(code)
