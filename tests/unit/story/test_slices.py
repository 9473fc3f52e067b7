"""What is long leaves the event loop free: scans go in slices, long texts to the thread for long work."""

import asyncio
import threading

import pytest

from semcache.decision import Decider
from semcache.model import Answer, Deposit, Usage
from semcache.request import Keying
from semcache.testing.upstream import completion_body
from tests.support.caches import MODEL, Rig, deposit, request, rig

LONG = "Explain in simple words how the tides of the sea come about. " * 18


async def steps_during(work) -> int:
    """Return how often the event loop turned while `work` ran."""
    task, steps = asyncio.ensure_future(work), 0
    while not task.done():
        await asyncio.sleep(0)
        steps += 1
    await task
    return steps


async def filled(entries: int) -> Rig:
    served = rig()
    for number in range(entries):
        await served.cache.store(deposit(served, request(f"How do I reset password {number}?", tags=("faq",))))
    return served


async def listed(served: Rig, tag: str) -> int:
    return len([entry async for entry in served.cache.entries("acme", tag)])


@pytest.mark.parametrize(("tag", "count"), [("faq", 30), ("nobody's", 0), ("", 30)])
async def test_others_run_while_entries_are_listed(tag, count):
    served = await filled(30)
    steps = await steps_during(listed(served, tag))
    assert await listed(served, tag) == count
    assert steps >= 30 // 3, "one for each page"


async def test_others_run_while_vectors_are_counted(monkeypatch):
    monkeypatch.setattr("semcache.story.explaining._COUNTED_AT_ONCE", 2)
    served = await filled(9)
    explanation = await served.cache.explain(request("How do I reset password 1?"))
    assert explanation.partition_entries == 9


@pytest.mark.parametrize(
    ("text", "on_loop"), [("How do I reset my password?", True), (LONG, False)], ids=["short", "long"]
)
async def test_a_long_text_is_keyed_read_and_judged_on_another_thread(monkeypatch, text, on_loop):
    served, threads = rig(), {}
    await served.cache.store(await _deposit(served, text))

    def note(kind: type, name: str) -> None:
        method = getattr(kind, name)

        def noting(*given):
            threads[name] = threading.current_thread() is threading.main_thread()
            return method(*given)

        monkeypatch.setattr(kind, name, noting)

    note(Keying, "compute")
    note(Decider, "decide")
    await served.cache.complete(request(text + " Thanks!"))
    assert threads == {"compute": on_loop, "decide": on_loop}


async def _deposit(served: Rig, text: str) -> Deposit:
    answer = Answer(completion_body("mine", model=MODEL), MODEL, "stop", Usage(1, 0, 1), text="mine")
    return Deposit(await served.cache.key(request(text)), answer)
