"""Spans that are kept, for tests of what is traced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from semcache.model import LedgerRecord


class StageSpan(NamedTuple):
    """One stage as it was taken; times are monotonic seconds."""

    request_id: str
    name: str
    start_s: float
    end_s: float


class RequestSpan(NamedTuple):
    """One request as it was taken; times are monotonic seconds."""

    record: LedgerRecord
    stages: tuple[tuple[str, float], ...]
    reason: str
    start_s: float
    end_s: float


class RecordingSpans:
    """`observe.spans.Spans` that keeps everything, in the order in which it came."""

    def __init__(self) -> None:
        self.stages: list[StageSpan] = []
        self.requests: list[RequestSpan] = []

    def stage(self, request_id: str, name: str, start_s: float, end_s: float) -> None:
        """Keep the stage."""
        self.stages.append(StageSpan(request_id, name, start_s, end_s))

    def request(
        self,
        record: LedgerRecord,
        stages: Sequence[tuple[str, float]],
        *,
        reason: str,
        start_s: float,
        end_s: float,
    ) -> None:
        """Keep the request."""
        self.requests.append(RequestSpan(record, tuple(stages), reason, start_s, end_s))
