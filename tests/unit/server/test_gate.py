"""The gate counts calls in and out, and tells when the last one has left."""

import asyncio

import pytest

from semcache.errors import OverLimitError, OverloadedError, ShuttingDownError
from semcache.server.gate import Gate
from semcache.settings import load_settings


async def test_a_closed_gate_is_empty_when_the_last_call_has_ended():
    settings = load_settings(None, {"limits": {"tenant_in_flight": 2}})
    gate = Gate(settings.server, settings.limits)
    gate.enter("a")
    gate.enter("a")
    with pytest.raises(OverLimitError):
        gate.enter("a")
    gate.close()
    with pytest.raises(ShuttingDownError):
        gate.enter("b")
    waiting = [asyncio.create_task(gate.emptied()) for _ in range(2)]
    await asyncio.sleep(0)
    gate.leave("a")
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    gate.leave("a")
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    await asyncio.wait_for(gate.emptied(), 5)


def test_a_full_gate_refuses_every_tenant():
    settings = load_settings(None, {"server": {"max_in_flight": 1}})
    gate = Gate(settings.server, settings.limits)
    gate.enter("a")
    with pytest.raises(OverloadedError) as refused:
        gate.enter("b")
    assert (gate.in_flight, refused.value.retry_after_s) == (1, 1.0)
    gate.leave("a")
    gate.enter("b")
