"""The kernel's scheduling policy of a server. Each test runs a process of its own: a policy can't be taken back."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="this system has no SCHED_BATCH")

RUN = """
import asyncio, os
from semcache.server import app, process
from semcache.settings import load_settings

class Stopped(Exception):
    pass

async def start(settings):
    raise Stopped

app.Application.start = start
os.sched_setscheduler(0, {before}, os.sched_param(0))
try:
    asyncio.run(process.serve(load_settings(None, {{"server": {{"batch_scheduling": {wanted}}}}})))
except Stopped:
    print(os.sched_getscheduler(0))
"""


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [("SCHED_OTHER", True, "SCHED_BATCH"), ("SCHED_OTHER", False, "SCHED_OTHER"), ("SCHED_IDLE", True, "SCHED_IDLE")],
)
def test_the_policy_is_batch_where_it_may_be(before: str, wanted: bool, after: str) -> None:
    code = RUN.format(before=f"os.{before}", wanted=wanted)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) == getattr(os, after)
