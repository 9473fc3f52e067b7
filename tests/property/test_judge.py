"""Whatever the judge replies and whenever callers leave: the ledger's sums are the requests' costs, none is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from semcache.errors import UpstreamError
from semcache.finance.savings import savings
from semcache.model import Purpose, Status
from semcache.testing.upstream import Scripted
from tests.support.caches import check_books, request
from tests.support.judge import QUESTION_NANOUSD, judged_rig, says

WORDS = ("sort", "order", "list", "rank")
TEXTS = [f"how do I {verb} a {noun} with python" for verb in WORDS for noun in ("list", "table", "queue")]
REPLIES = {
    "same": says("1", {"1": 0.97, "0": 0.03}),
    "second": says("2"),
    "unsure": says("1", {"1": 0.6, "0": 0.4}),
    "other": says("0"),
    "nonsense": says("maybe"),
    "failed": Scripted(error=UpstreamError("down", http_status=500)),
    "slow": replace(says("1"), gate=asyncio.Event()),
}

acts = st.lists(
    st.tuples(
        st.sampled_from(TEXTS),
        st.sampled_from(sorted(REPLIES)),
        st.sampled_from(["complete", "lookup", "no_store", "explain", "leave"]),
        st.integers(0, 25),
    ),
    min_size=1,
    max_size=12,
)


async def play(script: list[tuple[str, str, str, int]]) -> None:
    replies: list[str] = []
    gate = asyncio.Event()
    slow = replace(REPLIES["slow"], gate=gate)
    served = judged_rig(
        lambda _: slow if replies[-1] == "slow" else REPLIES[replies[-1]], guards=(), verifier={"deadline_s": 0.002}
    )
    opened = saved = 0
    for text, reply, act, turns in script:
        replies.append(reply)
        asked = request(text, no_store=act == "no_store")
        if act == "explain":
            before = len(served.upstream.calls)
            await served.cache.explain(asked)
            assert len(served.upstream.calls) == before
            continue
        opened += 1
        if act == "leave":
            task = asyncio.create_task(served.cache.complete(asked))
            for _ in range(turns + 1):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        elif act == "lookup":
            response = (await served.cache.lookup(asked)).response
            saved += response.saved.total_nanousd
        else:
            response = await served.cache.complete(asked)
            saved += response.saved.total_nanousd
            assert response.status in {Status.MISS, Status.EXACT_HIT, Status.SEMANTIC_HIT}
    gate.set()
    await served.cache.drain(5.0)
    spent = check_books(served, requests=opened)
    lines = list(served.store.ledger.records(None, 0, 1e12))
    judged = [line for line in lines if line.purpose is Purpose.JUDGE]
    assert all(line.spent.total_nanousd == QUESTION_NANOUSD and not line.requests for line in judged)
    total = savings(served.store.ledger.hours(None, 0, 1e12)).total
    assert total.own_calls_nanousd == len(judged) * QUESTION_NANOUSD
    assert total.spent_nanousd == spent
    assert total.net_saved_nanousd == total.saved_nanousd - total.own_calls_nanousd
    assert total.saved_nanousd >= saved


@settings(max_examples=60)
@given(script=acts)
def test_sums_are_the_costs_of_the_requests(script: list[tuple[str, str, str, int]]) -> None:
    asyncio.run(play(script))
