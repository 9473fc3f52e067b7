"""The seam for traces: each stage of a request, and each request that ended, as a span with its times.

Nothing traces by default. A tracer takes part by implementing `Spans`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from semcache.model import LedgerRecord


class Spans(Protocol):
    """Takes finished spans. It is called on the event loop, so it must neither block nor raise.

    All times are monotonic seconds of the injected clock. `LedgerRecord.at_s` is the wall-clock time of the same moment
    as `end_s` in `request`, which ties the two clocks to each other.
    """

    def stage(self, request_id: str, name: str, start_s: float, end_s: float) -> None:
        """Take a stage that ended: `embed`, `search`, `decide`, `upstream`, ….

        Args:
            request_id: the request that the stage belongs to.
            name: the stage's name, the same as in `semcache_stage_duration_seconds`.
            start_s: when the stage began.
            end_s: when it ended.
        """
        ...

    def request(
        self,
        record: LedgerRecord,
        stages: Sequence[tuple[str, float]],
        *,
        reason: str,
        start_s: float,
        end_s: float,
    ) -> None:
        """Take a request that ended. Its stages were taken before.

        Args:
            record: its line in the ledger: id, status, models, money.
            stages: (name, seconds), in their order.
            reason: why it ended as it did, a stable token.
            start_s: when the request came.
            end_s: when it ended.
        """
        ...


class NoSpans:
    """Takes spans and drops them: tracing is off."""

    def stage(self, request_id: str, name: str, start_s: float, end_s: float) -> None:
        """Drop the stage."""

    def request(
        self,
        record: LedgerRecord,
        stages: Sequence[tuple[str, float]],
        *,
        reason: str,
        start_s: float,
        end_s: float,
    ) -> None:
        """Drop the request."""
