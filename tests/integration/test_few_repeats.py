"""The server notices by itself where requests seldom repeat others, and asks more of a semantic hit there."""

from __future__ import annotations

import random

from semcache.decision.repeats import ENOUGH
from semcache.model import Response, Status
from tests.support.caches import Rig, request, rig

STORED = "How do I reset my password please?"
REWORDED = "How can I reset the password that I have?"


async def ask(served: Rig, text: str, **fields: object) -> Response:
    return await served.cache.complete(request(text, **fields))


def strange(number: int) -> str:
    """A text that is near to no other."""
    chance = random.Random(number)
    return "Explain " + " ".join("".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(6))


async def bound_of(served: Rig, text: str, namespace: str = "default") -> str:
    explanation = await served.cache.explain(request(text, namespace=namespace))
    assert explanation.decision is not None
    return explanation.decision.rule


async def test_a_namespace_with_few_repeats_gets_the_higher_threshold_until_requests_repeat() -> None:
    served = rig()
    await ask(served, STORED)
    await ask(served, STORED, namespace="faq")
    for number in range(ENOUGH):
        await ask(served, strange(number))
    assert await bound_of(served, REWORDED) == "few_repeats_threshold"
    assert await bound_of(served, REWORDED, "faq") == "threshold"
    asked = 0
    while await bound_of(served, REWORDED) == "few_repeats_threshold":
        assert (await ask(served, STORED)).status is Status.EXACT_HIT
        asked += 1
        assert asked < ENOUGH


async def test_looking_explaining_and_lonely_partitions_say_nothing_of_repeats() -> None:
    served = rig()
    await ask(served, STORED)
    for number in range(ENOUGH + 1):
        # Each model has a partition of its own, in which there is nothing to compare with.
        await ask(served, strange(number), model=f"model-{number}")
        await bound_of(served, strange(number))
    assert await bound_of(served, REWORDED) == "threshold"
