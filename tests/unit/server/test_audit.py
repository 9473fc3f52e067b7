"""A change whose caller leaves meanwhile is told as one that may have been made."""

import asyncio

import pytest
from structlog.testing import capture_logs

from semcache.server import audit
from semcache.server.auth import SOLE_CALLER


async def test_a_caller_that_leaves_during_a_change_is_told():
    async def change() -> None:
        with audit.changing(SOLE_CALLER, "Invalidate"):
            await asyncio.Event().wait()

    with capture_logs() as logs:
        changing = asyncio.create_task(change())
        await asyncio.sleep(0)
        changing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await changing
    (line,) = logs
    assert (line["event"], line["caller"], line["tenant"], line["call"]) == (
        "audit.caller_left",
        "anybody",
        "default",
        "Invalidate",
    )


def test_a_change_that_fails_leaves_no_line():
    with capture_logs() as logs, pytest.raises(ValueError, match="no"), audit.changing(SOLE_CALLER, "Store"):
        raise ValueError("no")
    assert logs == []
