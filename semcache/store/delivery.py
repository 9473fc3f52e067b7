"""From the writer's thread to the event loop: changes to their subscribers, results to the callers that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from semcache.model import Changes
from semcache.store.commit_group import WriteResult

_log = structlog.get_logger(__name__)


class Delivery:
    """Calls subscribers and resolves futures, each on its own event loop, one callback per group and loop."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Changes], None]] = []

    def subscribe(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` on the event loop after each commit that changed entries, before its writers are told."""
        self._listeners.append(listener)

    def send(self, changes: Changes, results: Iterable[WriteResult], loop: asyncio.AbstractEventLoop | None) -> None:
        """Hand a commit's changes and results to the event loop; called on the writer's thread.

        Args:
            changes: for the subscribers.
            results: for the callers of this commit's writes.
            loop: where the subscribers are called when no caller waits; None before the first write.
        """
        by_loop: dict[asyncio.AbstractEventLoop, list[WriteResult]] = {}
        for result in results:
            by_loop.setdefault(result.future.get_loop(), []).append(result)
        if changes != Changes() and not by_loop and loop is not None:
            by_loop[loop] = []
        for position, (target, own_results) in enumerate(by_loop.items()):
            try:
                target.call_soon_threadsafe(self._deliver, changes if position == 0 else Changes(), own_results)
            except RuntimeError:  # The loop was closed while its callers waited.
                _log.warning("store.waiters_gone", waiters=len(own_results))

    def _deliver(self, changes: Changes, results: list[WriteResult]) -> None:
        if changes.added or changes.removed or changes.rewritten:
            for listener in self._listeners:
                try:
                    listener(changes)
                except Exception:  # noqa: BLE001 - the failure of a listener must not reach the writers
                    _log.exception("store.listener_failed")
        for future, value, error in results:
            if future.done():
                continue  # Its caller was cancelled.
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
