"""Logs finish reasons that semcache doesn't know: their answers are never stored, which nobody would notice."""

from __future__ import annotations

import structlog

from semcache.model import Finish, finish_of

_log = structlog.get_logger(__name__)
_MAX_LOGGED = 256
"""Pairs of a target and a reason that are logged: upstreams choose the words freely."""
_MAX_WORD_CHARS = 200


class UnknownFinishes:
    """Logs each unknown finish reason of a target once."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str]] = set()

    def note(self, target: str, finish_reason: str) -> None:
        """Log an answer's finish reason, if it is unknown and wasn't logged before."""
        if finish_of(finish_reason) is not Finish.UNKNOWN:
            return
        pair = (target, finish_reason[:_MAX_WORD_CHARS])
        if pair not in self._logged and len(self._logged) < _MAX_LOGGED:
            self._logged.add(pair)
            _log.warning("upstream.finish_unknown", target=target, finish_reason=pair[1])
