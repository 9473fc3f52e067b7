"""Structured logs on standard error: text on a terminal, JSON elsewhere. They never hold a prompt or a key."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Literal, Protocol

import structlog
from structlog.typing import Processor

REDACTED = "[redacted]"
"""What stands in a line instead of a private value."""

_request_id: ContextVar[str] = ContextVar("semcache_request_id", default="")
"""The request that the running code works for; empty for none. A task takes over the id of the code that makes it."""

_TELLS_HEADERS = ("httpx2", "httpcore2", "httpx", "httpcore", "urllib3", "h2", "hpack")
"""Libraries that log addresses, and headers at `debug`: cookies, keys, a body's beginning."""
_PRIVATE = frozenset(
    {
        *("answer", "answer_text", "api_key", "authorization", "body", "content", "exact_key", "headers", "key"),
        *("messages", "openai_json", "partition", "password", "prompt", "secret", "slots", "text", "token", "vector"),
    }
)
"""Fields that hold a prompt, an answer, or a secret."""


class LogOptions(Protocol):
    """The settings that logging reads (`settings.LogSettings` has them)."""

    @property
    def level(self) -> Literal["debug", "info", "warning", "error"]:
        """The lowest level that is written."""
        ...

    @property
    def format(self) -> Literal["auto", "json", "console"]:
        """`auto`: console on a terminal, JSON elsewhere."""
        ...


def configure_logging(settings: LogOptions) -> None:
    """Set up structlog, and route the standard library's logging and warnings into lines of the same form.

    Each line has `timestamp` (ISO 8601, UTC), `level`, `logger` and `event`, and `request_id` where `bound` has bound
    one. Private fields are redacted by their names. Calling it again replaces what the call before it set up.
    """
    shared: list[Processor] = [
        add_request_id,
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
                # structlog's rich formatter prints local variables, and a prompt may be among them.
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
    logging.getLogger("faiss").setLevel(logging.WARNING)  # At `info` it lists the library files it tried.
    for name in _TELLS_HEADERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


class bound:  # noqa: N801 - used as a function: `with bound(request_id):`
    """Puts a request's id into every log line that is written within the block, and by the tasks that are made there.

    It is entered for each request, so it changes one context variable: structlog's own `bound_contextvars` costs ten
    times as much.

    Args:
        request_id: the id that the lines get as `request_id`.
    """

    __slots__ = ("_id", "_token")

    _token: Token[str]

    def __init__(self, request_id: str) -> None:
        self._id = request_id

    def __enter__(self) -> None:
        self._token = _request_id.set(self._id)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            _request_id.reset(self._token)
        except ValueError:
            # Another task may close an async generator that holds the block. The id was never set in its context, and
            # the context in which it was set has ended.
            return


def add_request_id(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Add the bound request's id to a line that names none itself; a structlog processor."""
    request_id = _request_id.get()
    if request_id:
        event.setdefault("request_id", request_id)
    return event


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Replace the values of private fields; a structlog processor."""
    for name in _PRIVATE & event.keys():
        event[name] = REDACTED
    return event


class _StderrHandler(logging.StreamHandler[Any]):
    """The handler that `configure_logging` made. Its own class tells it from the handlers of others."""
