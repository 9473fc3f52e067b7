"""What odd answers cost: upstream, ledger, budget, metrics and report see one amount."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from semcache.errors import BudgetExceededError
from semcache.finance.ledger_rows import line_row
from semcache.finance.report import remarks
from semcache.finance.savings import savings
from semcache.model import HIT_STATUSES, LedgerRecord, Status, Usage
from semcache.testing.upstream import Scripted, ScriptedUpstream
from tests.support.caches import Rig, check_books, deposit, request, rig

BESIDE = {
    "prompt_tokens": 1_000,
    "completion_tokens": 100,
    "total_tokens": 3_100,
    "completion_tokens_details": {"reasoning_tokens": 2_000},
}
GPT_4O_BESIDE_NANOUSD = 1_000 * 2_500 + 2_100 * 10_000


def completion(usage: object, *, model: str, **fields: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "An answer."}, "finish_reason": "stop"}
    return json.dumps({"model": model, "choices": [choice], "usage": usage, **fields}).encode()


def answering(body: bytes, **sections: Any) -> Rig:
    return rig(ScriptedUpstream(lambda _: Scripted(body=body)), **sections)


def lines_of(served: Rig) -> list[LedgerRecord]:
    """The ledger's lines, those of hits last: lines of one moment have no order."""
    return sorted(served.store.ledger.records(None, 0, 1e12), key=lambda line: line.status in HIT_STATUSES)


async def test_reasoning_beside_the_completion_is_spent_and_saved_in_full() -> None:
    served = answering(completion(BESIDE, model="gpt-4o"))
    first = await served.cache.complete(request("one", model="gpt-4o"))
    again = await served.cache.complete(request("one", model="gpt-4o"))
    assert first.usage == Usage(1_000, 0, 2_100)
    assert (again.status, again.saved.total_nanousd) == (Status.EXACT_HIT, GPT_4O_BESIDE_NANOUSD)
    assert check_books(served, requests=2) == GPT_4O_BESIDE_NANOUSD


@pytest.mark.parametrize("odd", [{"prompt_tokens": 10**12}, {"completion_tokens": 10**12}])
async def test_a_count_that_can_not_be_true_is_estimated_counted_and_logged(odd: dict[str, int]) -> None:
    told = {"prompt_tokens": 3, "completion_tokens": 2, **odd}
    served = answering(completion(told, model="gpt-4o"))
    with capture_logs() as logs:
        response = await served.cache.complete(request("one", model="gpt-4o"))
    assert response.usage.estimated
    assert 0 < response.usage.input_tokens < 100
    assert 0 < response.usage.output_tokens < 100
    assert check_books(served, requests=1) < 1_000_000
    assert [line["input_tokens"] for line in logs if line["event"] == "story.usage_implausible"] == [
        told["prompt_tokens"]
    ]


async def test_a_callers_count_that_can_not_be_true_is_estimated_too() -> None:
    served = rig()
    mine = deposit(served, request("one", model="gpt-4o"))
    mine = replace(mine, answer=replace(mine.answer, usage=Usage(10**12, 0, 10)))
    stored = await served.cache.store(mine)
    assert stored.cost.total_nanousd < 1_000_000


async def test_a_budget_ends_where_the_true_cost_ends_it() -> None:
    budget = {"name": "b", "limit_usd": 0.10}
    served = answering(completion(BESIDE, model="gpt-4o"), costs={"budgets": [budget], "assumed_output_tokens": 100})

    async def ask(number: int) -> bool:
        try:
            await served.cache.complete(request(f"question number {number}", model="gpt-4o"))
        except BudgetExceededError:
            return False
        return True

    calls = [await ask(number) for number in range(20)].count(True)
    (balance,) = served.accounts.budgets.balances()
    assert calls == 5
    assert balance.spent_nanousd == 5 * GPT_4O_BESIDE_NANOUSD
    assert balance.spent_nanousd <= 1.2 * balance.limit_nanousd


@pytest.mark.parametrize(
    ("model", "usage", "fields", "nanousd"),
    [
        ("gpt-5", {"prompt_tokens": 1_000, "completion_tokens": 100}, {"service_tier": "flex"}, 625_000 + 500_000),
        (
            "gpt-audio",
            {"prompt_tokens": 1_000, "completion_tokens": 100, "prompt_tokens_details": {"audio_tokens": 600}},
            {},
            400 * 2_500 + 600 * 32_000 + 100 * 10_000,
        ),
        (
            "gpt-5",
            {"prompt_tokens": 1_000, "completion_tokens": 100, "server_tool_use": {"web_search_requests": 2}},
            {"service_tier": "default"},
            1_250_000 + 1_000_000 + 2 * 10_000_000,
        ),
    ],
    ids=["flex", "audio", "web searches"],
)
async def test_a_tier_and_a_part_with_a_price_are_not_flagged(
    model: str, usage: object, fields: dict[str, str], nanousd: int
) -> None:
    served = answering(completion(usage, model=model, **fields))
    await served.cache.complete(request("one", model=model))
    await served.cache.complete(request("one", model=model))
    miss, hit = lines_of(served)
    assert (miss.spent.total_nanousd, hit.saved.total_nanousd) == (nanousd, nanousd)
    assert not miss.spent.partly_priced
    assert not hit.saved.partly_priced
    check_books(served, requests=2)


@pytest.mark.parametrize(
    ("model", "usage", "fields", "parts"),
    [
        ("gpt-5", {"prompt_tokens": 1_000, "completion_tokens": 100}, {"service_tier": "scale"}, ""),
        (
            "grok-3",
            {"prompt_tokens": 1_000, "completion_tokens": 100, "num_sources_used": 3},
            {},
            "search_sources=3",
        ),
        (
            "gpt-4o",
            {"prompt_tokens": 1_000, "completion_tokens": 100, "completion_tokens_details": {"audio_tokens": 50}},
            {},
            "output_audio=50",
        ),
    ],
    ids=["a tier", "sources", "audio"],
)
async def test_what_is_partly_priced_is_flagged_wherever_the_amount_is_shown(
    model: str, usage: object, fields: dict[str, str], parts: str
) -> None:
    served = answering(completion(usage, model=model, **fields))
    first = await served.cache.complete(request("one", model=model))
    again = await served.cache.complete(request("one", model=model))
    assert first.cost.partly_priced
    assert again.saved.partly_priced
    miss, hit = (line_row(line) for line in lines_of(served))
    assert (miss["spent_partly_priced"], miss["saved_partly_priced"]) == (True, False)
    assert (hit["spent_partly_priced"], hit["saved_partly_priced"]) == (False, True)
    assert (miss["service_tier"], miss["parts"]) == (fields.get("service_tier", ""), parts)
    hours = list(served.store.ledger.hours(None, 0, 1e12))
    total = savings(hours, []).total
    assert total.partly_priced == sum(hour.partly_priced for hour in hours) == 2
    (remark,) = [text for text in remarks(total, {}) if "aren't fully known" in text]
    assert "2 requests" in remark
    check_books(served, requests=2)


async def test_a_stream_is_read_like_a_plain_answer() -> None:
    served = answering(completion(BESIDE, model="gpt-5", service_tier="priority"))
    async for _ in served.cache.stream(request("one", model="gpt-5")):
        pass
    (line,) = lines_of(served)
    assert line.usage == Usage(1_000, 0, 2_100, service_tier="priority")
    assert line.spent.total_nanousd == 2 * (1_000 * 1_250 + 2_100 * 10_000)


async def test_a_model_that_was_asked_for_as_free_is_free_under_the_name_that_answers() -> None:
    body = completion({"prompt_tokens": 1_000, "completion_tokens": 100}, model="gpt-4o")
    served = answering(body)
    response = await served.cache.complete(request("one", model="openai/gpt-4o:free"))
    again = await served.cache.complete(request("one", model="openai/gpt-4o:free"))
    assert (response.cost.total_nanousd, response.cost.priced) == (0, True)
    assert (again.saved.total_nanousd, again.saved.priced) == (0, True)


async def test_one_odd_count_costs_no_other() -> None:
    usage = {"prompt_tokens": 1_000, "completion_tokens": 2_000, "prompt_tokens_details": {"cached_tokens": 5_000}}
    served = answering(completion(usage, model="gpt-4o"))
    response = await served.cache.complete(request("one", model="gpt-4o"))
    assert response.usage == Usage(1_000, 0, 2_000, estimated=True)
    assert response.cost.total_nanousd == 1_000 * 2_500 + 2_000 * 10_000


async def test_cached_input_has_the_caches_price_whoever_names_it() -> None:
    usage = {"prompt_tokens": 1_000, "completion_tokens": 10, "prompt_cache_hit_tokens": 800, "total_tokens": 1_010}
    served = answering(completion(usage, model="gpt-4o"))
    response = await served.cache.complete(request("one", model="gpt-4o"))
    assert response.cost.total_nanousd == 200 * 2_500 + 800 * 1_250 + 10 * 10_000
