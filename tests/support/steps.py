"""Coroutines that need no waiting, run without an event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

Result = TypeVar("Result")


def at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of a coroutine after one step; fail when it suspends."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    finally:
        work.close()
    pytest.fail("the work suspended")
