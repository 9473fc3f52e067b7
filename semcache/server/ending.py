"""The end of a task that runs for as long as the server does."""

from __future__ import annotations

import asyncio


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel a task and return when it has ended, however it ends."""
    task.cancel()
    await asyncio.wait([task])
