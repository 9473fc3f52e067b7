"""Degraded on purpose: by budget, by errors; what rests meanwhile, what callers see, and what is never served later."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from semcache import Client
from semcache.client.failures import ClientError
from semcache.model import Mode, UpstreamCall, Usage
from semcache.server.app import Application
from semcache.settings import load_settings
from semcache.testing.clock import FakeClock
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.upstream import Scripted, ScriptedUpstream, completion_body
from semcache.testing.upstream_server import Received, Reply, ScriptedServer, failure, plain
from tests.support.caches import request, rig

CRITICAL = {"critical": ["code"], "verifier": "judge"}
USAGE = Usage(1_000, 0, 1_000)
LARGE_NANOUSD = 1_000 * (2_500 + 10_000)
"""A call of gpt-4o, the mini one costs a sixteenth."""
UPSTREAM: dict[str, Any] = {
    "routes": [
        {"alias": "chat", "target": "t", "model": "gpt-4o", "degraded": "mini"},
        {"alias": "mini", "target": "t", "model": "gpt-4o-mini"},
    ],
    "retry": {"max_retries": 0},
}


def degraded(*measures: str) -> Mode:
    return Mode(active=True, reason="budget", measures=frozenset(measures))


async def test_the_verifier_rests_and_what_it_would_confirm_is_not_kept() -> None:
    upstream = ScriptedUpstream()
    served = rig(upstream, tasks=CRITICAL)
    upstream.mode = degraded("optional_off")
    response = await served.cache.complete(request("sort a list", task_type="code"))
    assert (response.stored, response.store_reason) == (False, "verifier_off")
    assert len(upstream.calls) == 1


async def test_batches_stay_small_for_as_long_as_the_mode_lasts() -> None:
    upstream = ScriptedUpstream()
    served = rig(upstream)
    upstream.mode = degraded("smaller_batches")
    await served.cache.complete(request("one"))
    assert served.embedder.small_batches
    upstream.mode = Mode()
    await served.cache.complete(request("two"))
    assert not served.embedder.small_batches


@pytest.mark.parametrize(("tenant", "presses"), [(None, True), ("*", False)])
async def test_a_budget_degrades_its_calls_and_presses_the_mode_when_it_is_everybodys(
    tenant: str | None, presses: bool
) -> None:
    upstream = ScriptedUpstream(lambda _: Scripted("An answer.", usage=Usage(1_000, 0, 10)))
    budget = {"name": "b", "limit_usd": 0.001, "warn_at": 0.1, "degrade_at": 0.1, "tenant": tenant}
    served = rig(upstream, costs={"budgets": [budget]})
    for text in ("one", "two"):
        await served.cache.complete(request(text))
    assert [call.degraded for call in upstream.calls] == [False, True]
    assert upstream.pressed is presses


async def test_models_without_room_are_barred() -> None:
    upstream = ScriptedUpstream()
    seen: list[UpstreamCall] = []

    def candidates(*_: object, **__: object) -> tuple[str, ...]:
        return ("gpt-4o", "gpt-4o-mini")

    upstream.candidates = candidates  # type: ignore[method-assign]
    upstream.answers = lambda call: seen.append(call) or Scripted("fine")
    served = rig(upstream, costs={"budgets": [{"name": "b", "limit_usd": 0.000001, "model": "gpt-4o"}]})
    await served.cache.complete(request("one"))
    assert [call.barred for call in seen] == [{"gpt-4o"}]


@dataclass
class Stack:
    """A real server before a real socket."""

    client: Client
    server: ScriptedServer
    clock: FakeClock

    @property
    def models(self) -> list[str]:
        """What was asked of the upstream, in order."""
        return [json.loads(received.body)["model"] for received in self.server.requests]


@asynccontextmanager
async def stack(path: Path, script: object = None, **sections: Any) -> AsyncIterator[Stack]:
    def answer(received: Received) -> Reply:
        return plain(completion_body("An answer.", model=received.json["model"], usage=USAGE))

    clock = FakeClock()
    async with ScriptedServer(script or answer) as server:
        own = {
            "server": {"port": 0, "http": {"port": 0}},
            "metrics": {"enabled": False},
            "store": {"path": path, "map_size_bytes": 1 << 30},
            "upstream": {**UPSTREAM, "targets": [{"name": "t", "base_url": server.base_url, "provider": "any"}]},
        }
        for name, fields in sections.items():
            own[name] = {**own.get(name, {}), **fields}
        application = await Application.start(load_settings(None, own), embedder=HashingEmbedder(), clock=clock)
        async with Client(application.address) as client:
            yield Stack(client, server, clock)
        await application.stop(1.0)


def day(calls: float) -> dict[str, Any]:
    """A day's budget of so many of the large model's calls, degrading from half of it on."""
    limit_usd = round(calls * LARGE_NANOUSD) / 1e9
    return {"budgets": [{"name": "d", "period": "day", "limit_usd": limit_usd, "warn_at": 0.5, "degrade_at": 0.5}]}


async def test_a_degraded_answer_is_flagged_kept_as_what_it_is_and_never_served_as_the_better_one(
    tmp_path: Path,
) -> None:
    async with stack(tmp_path, costs=day(2)) as run:
        asked = {"model": "chat", "max_tokens": 1_000}
        first = await run.client.complete(prompt="the first", **asked)
        second = await run.client.complete(prompt="the second", **asked)
        assert [first.outcome.degraded, second.outcome.degraded] == [False, True]
        assert second.outcome.served_model == "gpt-4o-mini"
        assert second.outcome.stored
        assert second.outcome.cost.total_nanousd * 16 < LARGE_NANOUSD * 1.1
        again = await run.client.complete(prompt="the second", **asked)
        assert again.outcome.status == second.outcome.status  # a miss
        assert (await run.client.complete(prompt="the first", **asked)).status == "exact_hit"
        run.clock.advance(86_400)
        better = await run.client.complete(prompt="the second", **asked)
        assert (better.status, better.outcome.degraded, better.outcome.served_model) == ("miss", False, "gpt-4o")
        assert (await run.client.complete(prompt="the second", **asked)).status == "exact_hit"


async def test_a_refresh_while_degraded_leaves_the_full_answer(tmp_path: Path) -> None:
    async with stack(tmp_path, costs=day(2)) as run:
        asked = {"model": "chat", "prompt": "the first", "max_tokens": 1_000}
        await run.client.complete(**asked)
        refreshed = await run.client.complete(mode="refresh", **asked)
        assert (refreshed.outcome.degraded, refreshed.outcome.stored) == (True, False)
        assert refreshed.outcome.store_skipped_reason == "degraded"
        kept = await run.client.complete(**asked)
        assert (kept.status, kept.outcome.served_model) == ("exact_hit", "gpt-4o")


async def test_errors_bring_the_mode_and_calm_ends_it(tmp_path: Path) -> None:
    failing = [True]

    def script(received: Received) -> Reply:
        if failing[0] and received.json["model"] == "gpt-4o":
            return failure(500)
        return plain(completion_body("An answer.", model=received.json["model"], usage=USAGE))

    mode = {
        "enabled": True,
        "error_rate_enter": 0.4,
        "error_rate_leave": 0.1,
        "min_samples": 4,
        "window_s": 60,
        "hold_s": 30,
    }
    breaker = {"failures": 1_000, "min_samples": 1_000}
    async with stack(tmp_path, script, upstream={"degraded": mode, "breaker": breaker}) as run:
        for number in range(4):
            with pytest.raises(ClientError):
                await run.client.complete(model="chat", prompt=f"failing {number}")
        run.clock.advance(2)
        helped = await run.client.complete(model="chat", prompt="helped")
        assert (helped.outcome.degraded, helped.outcome.served_model) == (True, "gpt-4o-mini")
        failing[0] = False
        run.clock.advance(120)
        await run.client.complete(model="chat", prompt="calm")
        run.clock.advance(31)
        full = await run.client.complete(model="chat", prompt="full again")
        assert (full.outcome.degraded, full.outcome.served_model) == (False, "gpt-4o")
