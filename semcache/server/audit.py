"""Audit lines: who changed what a tenant's cache holds. One log line for each change, at the level `info`.

Each line names the caller (its credential's name in the settings), the tenant, how many entries, and the request id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from semcache.model import (
    Deposited,
    PassedCall,
    PassedReply,
    Response,
    Selector,
    Status,
    VerdictOutcome,
    format_entry_id,
)
from semcache.server.auth import Caller

_log = structlog.get_logger(__name__)
_SHOWN_CHARS = 128
"""Characters of a caller's text that a line repeats: as many as a name has."""


@contextmanager
def changing(caller: Caller, call: str) -> Iterator[None]:
    """Log a caller that leaves within the block: whether the change was made then stays unknown to it and to the log.

    Args:
        caller: who asks for the change.
        call: the call's name in the proto.
    """
    try:
        yield
    except asyncio.CancelledError:
        _log.warning("audit.caller_left", caller=caller.name, tenant=caller.tenant, call=call)
        raise


def stored(caller: Caller, deposited: Deposited) -> None:
    """Log a Store, or an item of a StoreBatch, that stored its answer."""
    entry = deposited.entry
    if entry is not None:
        _log.info(
            "audit.stored",
            caller=caller.name,
            tenant=caller.tenant,
            request_id=deposited.request_id,
            entries=1,
            entry_id=format_entry_id(entry.entry_id),
            namespace=entry.namespace,
        )


def filled(caller: Caller, response: Response) -> None:
    """Log a Complete or CompleteStream whose upstream answer was stored. Those who joined its flight stored nothing."""
    if response.stored and response.status in {Status.MISS, Status.REFRESH}:
        _log.info(
            "audit.filled",
            caller=caller.name,
            tenant=caller.tenant,
            request_id=response.request_id,
            entries=1,
            entry_id=format_entry_id(response.entry_id),
        )


def passed(caller: Caller, call: PassedCall, reply: PassedReply) -> None:
    """Log a call that was passed through to a target: where to, never what it says."""
    _log.info(
        "audit.passed",
        caller=caller.name,
        tenant=caller.tenant,
        request_id=call.request_id,
        method=call.method,
        path=call.path[:_SHOWN_CHARS],
        target=reply.target,
        status=reply.status,
    )


def invalidated(caller: Caller, request_id: str, selector: Selector, count: int) -> None:
    """Log an Invalidate that applied, also where it named nothing that was there.

    Args:
        caller: who asked.
        request_id: of the call.
        selector: what it named.
        count: entries that were removed.
    """
    _log.info(
        "audit.invalidated",
        caller=caller.name,
        tenant=caller.tenant,
        request_id=request_id,
        entries=count,
        everything=selector.everything,
        entry_ids=len(selector.entry_ids),
        tags=selector.tags,
        sources=selector.sources,
        namespace=selector.namespace,
        model=selector.alias[:_SHOWN_CHARS],
        created_before_s=selector.created_before_s,
    )


def verdict_reported(
    caller: Caller, request_id: str, outcome: VerdictOutcome, *, right: bool, judge: str, note: str
) -> None:
    """Log a verdict on a hit.

    Args:
        caller: who asked.
        request_id: of the call.
        outcome: what the verdict did.
        right: the verdict.
        judge: who judged, by the caller's word.
        note: the caller's note.
    """
    _log.info(
        "audit.verdict_reported",
        caller=caller.name,
        tenant=caller.tenant,
        request_id=request_id,
        entries=1,
        entry_id=format_entry_id(outcome.served.entry_id),
        hit_id=outcome.served.hit_id,
        right=right,
        removed=outcome.removed,
        judge=judge,
        note=note,
    )
