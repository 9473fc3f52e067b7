"""Structured logs on standard error, for people on a terminal and as JSON elsewhere; never a prompt or a key."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, Protocol

import structlog
from structlog.typing import Processor

REDACTED = "[redacted]"

_PRIVATE = frozenset(
    {
        *("answer", "answer_text", "api_key", "authorization", "body", "content", "exact_key", "headers", "key"),
        *("messages", "openai_json", "partition", "password", "prompt", "secret", "slots", "text", "token", "vector"),
    }
)
"""Fields that hold what was asked, what was answered, or what opens a door."""


class LogOptions(Protocol):
    """The settings that matter here (`settings.LogSettings` has them)."""

    @property
    def level(self) -> Literal["debug", "info", "warning", "error"]:
        """The least that is written."""
        ...

    @property
    def format(self) -> Literal["auto", "json", "console"]:
        """`auto`: console on a terminal, JSON elsewhere."""
        ...


def configure_logging(settings: LogOptions) -> None:
    """Sets up structlog and routes the standard library's logging and warnings into the same lines.

    Each line has `timestamp` (ISO 8601, UTC), `level`, `logger` and `event`; private fields are redacted by their
    names. Calling it again replaces what the call before it set up.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        redact,
    ]
    console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    rendered: list[Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The rich one prints local variables, and a prompt may be among them.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # a cached logger would keep the level of the first configuration
    )
    handler = _StderrHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    for former in [h for h in root.handlers if isinstance(h, _StderrHandler)]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(settings.level.upper())
    logging.getLogger("faiss").setLevel(logging.WARNING)  # It tells which library files it tried.
    logging.captureWarnings(capture=True)


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Replaces the values of private fields; a structlog processor."""
    for name in _PRIVATE & event.keys():
        event[name] = REDACTED
    return event


class _StderrHandler(logging.StreamHandler[Any]):
    """The handler that `configure_logging` made, to be known again."""
