"""Task types through a whole cache, from who said so to the ledger; critical answers are kept on the verifier's yes."""

from __future__ import annotations

import json

import pytest

from semcache.errors import UpstreamError
from semcache.model import LedgerRecord, Purpose, Status, Task, UpstreamCall, Usage
from semcache.request import Tasks
from semcache.testing.upstream import Scripted, ScriptedUpstream
from tests.support.caches import ANSWER_NANOUSD, check_books, request, rig

TASKS = {
    "rules": [{"task_type": "code", "pattern": r"\bpython\b"}],
    "exemplars": [{"task_type": "support", "texts": ["I can't log in to my account"]}],
    "complexity": [{"complexity": "high", "min_chars": 60}],
}


@pytest.mark.parametrize(
    ("text", "task_type", "wanted"),
    [
        ("sort a list in python", "", Task("code", "rule")),
        ("sort a list in python", "chat", Task("chat", "request")),
        ("I can't log in to my account now", "", Task("support", "exemplar")),
        ("what is the longest river of the world", "", Task()),
        ("sort a list in python, " + "as fast as it can be done " * 3, "", Task("code", "rule", "high", "length")),
    ],
)
async def test_which_and_why(text: str, task_type: str, wanted: Task) -> None:
    served = rig(tasks=TASKS)
    response = await served.cache.complete(request(text, task_type=task_type))
    assert response.task == wanted
    (call,) = served.upstream.calls
    assert (call.task_type, call.complexity) == (wanted.task_type, wanted.complexity)
    (line,) = served.store.ledger_records(None, 0, 1e12)
    assert line.task_type == wanted.task_type
    assert (await served.cache.explain(request(text, task_type=task_type))).keyed.task == wanted


async def test_a_hit_has_its_own_task_or_that_of_its_entry() -> None:
    served = rig(tasks=TASKS)
    await served.cache.complete(request("sort a list in python", task_type="chat"))
    again = await served.cache.complete(request("sort a list in python"))
    assert (again.status, again.task) == (Status.EXACT_HIT, Task("chat", "entry"))
    named = await served.cache.complete(request("sort a list in python", task_type="search"))
    assert (named.status, named.task) == (Status.EXACT_HIT, Task("search", "request"))
    near = await served.cache.complete(request("please sort a list in python"))
    assert (near.status, near.task) == (Status.SEMANTIC_HIT, Task("code", "rule"))
    lines = served.store.ledger_records(None, 0, 1e12)
    assert sorted(line.task_type for line in lines) == ["chat", "chat", "code", "search"]


async def test_without_exemplars_an_empty_partition_costs_no_embedding_on_the_way() -> None:
    served = rig(tasks={**TASKS, "exemplars": []})
    response = await served.cache.complete(request("a question"))
    assert "classify" not in dict(response.stages)


CRITICAL = {"critical": ["code"], "verifier": "judge"}
VERDICT = Usage(100, 0, 1)


def verified(verdict: Scripted) -> ScriptedUpstream:
    def answer(call: UpstreamCall) -> Scripted:
        return verdict if call.alias == "judge" else Scripted("An answer.")

    return ScriptedUpstream(answer)


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (Scripted("YES", usage=VERDICT), ""),
        (Scripted(" **Yes**, it is.", usage=VERDICT), ""),
        (Scripted("NO", usage=VERDICT), "rejected_by_verifier"),
        (Scripted("I can't tell. YES?", usage=VERDICT), "rejected_by_verifier"),
        (Scripted("...", usage=VERDICT), "rejected_by_verifier"),
        (Scripted(error=UpstreamError("down", http_status=500)), "not_verified"),
    ],
)
async def test_a_critical_answer_is_kept_when_the_verifier_says_yes(verdict: Scripted, reason: str) -> None:
    served = rig(verified(verdict), tasks=CRITICAL)
    response = await served.cache.complete(request("sort a list", task_type="code"))
    assert response.status is Status.MISS
    assert (response.stored, response.store_reason) == (not reason, reason)
    again = await served.cache.complete(request("sort a list", task_type="code"))
    assert again.status is (Status.MISS if reason else Status.EXACT_HIT)
    body = json.loads(served.upstream.calls[1].body)
    assert "sort a list" in body["messages"][1]["content"]
    assert "An answer." in body["messages"][1]["content"]
    assert body["model"] == "judge"


async def test_what_the_verifier_costs_is_a_line_of_its_own() -> None:
    served = rig(verified(Scripted("YES", model="gpt-4o-mini", usage=VERDICT)), tasks=CRITICAL)
    response = await served.cache.complete(request("sort a list", task_type="code"))
    lines = list(served.store.ledger_records(None, 0, 1e12))
    assert sorted((line.purpose, line.requests, line.request_id == response.request_id) for line in lines) == [
        (Purpose.REQUEST, 1, True),
        (Purpose.VERIFIER, 0, True),
    ]
    assert check_books(served, requests=1) == ANSWER_NANOUSD + 100 * 150 + 600


async def test_other_tasks_are_not_verified() -> None:
    served = rig(verified(Scripted("NO")), tasks=CRITICAL)
    response = await served.cache.complete(request("sort a list", task_type="chat"))
    assert response.stored
    assert len(served.upstream.calls) == 1


async def test_what_is_not_to_be_kept_needs_no_verdict() -> None:
    served = rig(verified(Scripted("YES")), tasks=CRITICAL)
    response = await served.cache.complete(request("sort a list", task_type="code", no_store=True))
    assert response.store_reason == "no_store"
    assert len(served.upstream.calls) == 1


async def test_a_verifier_without_room_in_the_budget_confirms_nothing() -> None:
    budget = {"name": "judge", "limit_usd": 0.000001, "model": "gpt-4o"}
    upstream = verified(Scripted("YES"))
    upstream.routes = {"gpt-4o-mini": "gpt-4o-mini", "judge": "gpt-4o"}
    served = rig(upstream, tasks=CRITICAL, costs={"budgets": [budget]})
    response = await served.cache.complete(request("sort a list", task_type="code"))
    assert response.store_reason == "not_verified"
    assert len(upstream.calls) == 1


async def test_an_exact_hit_costs_no_rule_and_no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    served = rig(tasks=TASKS)
    await served.cache.complete(request("sort a list in python"))
    asked: list[str] = []
    for where, name in ((Tasks, "by_rule"), (Tasks, "by_exemplar"), (ScriptedUpstream, "candidates")):
        monkeypatch.setattr(where, name, lambda *_, name=name, **__: asked.append(name))
    assert (await served.cache.complete(request("sort a list in python"))).status is Status.EXACT_HIT
    assert asked == []


class _TwoJudges(ScriptedUpstream):
    """`judge` may be answered by either of two models."""

    def candidates(
        self, alias: str, *, task_type: str = "", complexity: str = "", degraded: bool = False
    ) -> tuple[str, ...]:
        return ("gpt-4o", "gpt-4o-mini") if alias == "judge" else (alias,)


async def test_a_verifier_is_not_asked_of_a_model_without_room() -> None:
    budget = {"name": "dear", "limit_usd": 0.000001, "model": "gpt-4o"}
    served = rig(_TwoJudges(verified(Scripted("YES")).answers), tasks=CRITICAL, costs={"budgets": [budget]})
    assert (await served.cache.complete(request("sort a list", task_type="code"))).stored
    assert [call.barred for call in served.upstream.calls] == [frozenset(), {"gpt-4o"}]


async def test_what_a_verifier_cost_is_counted_once_at_any_moment() -> None:
    """Its room is given back in the moment in which it is spent, not when that is on disk."""
    budget = {"name": "all", "limit_usd": 1}
    upstream = verified(Scripted("YES", usage=VERDICT))
    upstream.routes = {"gpt-4o-mini": "gpt-4o-mini", "judge": "gpt-4o"}
    served = rig(upstream, tasks=CRITICAL, costs={"budgets": [budget]})
    reserved = []
    record_durably = served.store.record_durably

    async def watched(record: LedgerRecord) -> None:
        reserved.append((record.purpose, served.accounts.budgets.balances()[0].reserved_nanousd))
        await record_durably(record)

    served.store.record_durably = watched  # type: ignore[method-assign]
    await served.cache.complete(request("sort a list", task_type="code"))
    assert reserved == [(Purpose.REQUEST, 0), (Purpose.VERIFIER, 0)]
