"""The tree of errors that semcache raises on purpose. Each has a stable reason, one sentence and a way out.

`wire.errors_table` gives each class its gRPC code, its HTTP status and its OpenAI error type.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar


class SemcacheError(Exception):
    """Root of the tree.

    Attributes:
        reason: a stable UPPER_SNAKE token; clients may branch on it.
        message: one sentence that names the cause.
        hint: the way out, empty when there is none.
        metadata: string pairs for programs (an HTTP status, a limit, a field's name); never a prompt.
        retry_after_s: seconds after which the same request may succeed; None when waiting doesn't help.
    """

    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        hint: str = "",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.message = message
        self.hint = hint
        self.reason = reason or self.default_reason
        self.metadata: Mapping[str, str] = metadata or {}

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InvalidRequestError(SemcacheError):
    """The request itself is wrong, so sending it again can't help."""

    default_reason = "INVALID_REQUEST"


class UnknownModelError(SemcacheError):
    """No route serves the model alias that was asked for."""

    default_reason = "UNKNOWN_MODEL"


class NotFoundError(SemcacheError):
    """The named thing doesn't exist or belongs to another tenant. The caller isn't told which of the two it is."""

    default_reason = "NOT_FOUND"


class UnauthenticatedError(SemcacheError):
    """The caller showed no credential, or an unknown one."""

    default_reason = "UNAUTHENTICATED"


class PermissionDeniedError(SemcacheError):
    """The caller is known, but may not do this."""

    default_reason = "PERMISSION_DENIED"


class OverLimitError(SemcacheError):
    """The caller passed a limit of its own, such as its tenant's calls in flight. Other callers are served."""

    default_reason = "OVER_LIMIT"


class MessageTooLargeError(OverLimitError):
    """The message has more bytes than the server accepts."""

    default_reason = "MESSAGE_TOO_LARGE"


class BudgetExceededError(SemcacheError):
    """The upstream budget of a period is spent. Answers that the cache holds are still served.

    Attributes:
        retry_after_s: seconds until the period ends.
    """

    default_reason = "BUDGET_EXCEEDED"

    def __init__(self, message: str, *, retry_after_s: float, hint: str, metadata: Mapping[str, str]) -> None:
        super().__init__(message, retry_after_s=retry_after_s, hint=hint, metadata=metadata)


class OverloadedError(SemcacheError):
    """A queue of the server is full, so the same request may succeed later.

    Attributes:
        retry_after_s: seconds after which to try again.
    """

    default_reason = "OVERLOADED"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float = 1.0,
        hint: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, hint=hint, reason=reason)


class ServerExhaustedError(OverloadedError):
    """This process has no memory, file descriptor or port left. Whatever it worked on isn't to blame."""

    default_reason = "SERVER_EXHAUSTED"


class ShuttingDownError(SemcacheError):
    """The server is draining. Another replica can answer."""

    default_reason = "SHUTTING_DOWN"


class DeadlineExceededError(SemcacheError):
    """The caller's deadline passed before the answer was ready."""

    default_reason = "DEADLINE_EXCEEDED"


class PreconditionFailedError(SemcacheError):
    """The state that the request builds on is gone, such as an expired lease or a forgotten lookup id."""

    default_reason = "PRECONDITION_FAILED"


SERVERS_KEY_STATUSES = frozenset({401, 403})
"""An upstream's statuses that judge this server's key. A caller must not take them for its own, and the body may show a
part of the key."""


class UpstreamError(SemcacheError):
    """The upstream gave no usable answer.

    Attributes:
        http_status: the HTTP status of the upstream's response; None when no response arrived.
        body: the upstream's own error, as it sent it. The metadata holds at most its first 2,048 bytes.
        content_type: what the upstream says that this body is; empty where it doesn't say.
        retry_after_s: the upstream's Retry-After in seconds; None when it sent none.
        reached: whether another target was reached for the same call, and refused it.
    """

    default_reason = "UPSTREAM_FAILED"
    reached = False

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        body: bytes = b"",
        content_type: str = "",
        retry_after_s: float | None = None,
        hint: str = "",
        reason: str = "",
    ) -> None:
        metadata = {} if http_status is None else {"http_status": str(http_status)}
        if body:
            metadata["upstream_body"] = body[:2048].decode("utf-8", "replace")
        super().__init__(message, retry_after_s=retry_after_s, hint=hint, reason=reason, metadata=metadata)
        self.http_status = http_status
        self.body = body
        self.content_type = content_type


class UpstreamRefusedError(UpstreamError):
    """The upstream answered with a 4xx status: it refused the request or this server's own key."""

    default_reason = "UPSTREAM_REFUSED"


class UpstreamTimedOutError(UpstreamError):
    """The upstream didn't answer within its timeout or the request's deadline."""

    default_reason = "UPSTREAM_TIMED_OUT"


class EmbeddingFailedError(SemcacheError):
    """The embedding model failed on a batch. Every request of that batch gets this error."""

    default_reason = "EMBEDDING_FAILED"


class ModelMissingError(SemcacheError):
    """The embedding model's files are in none of the places where they may be."""

    default_reason = "EMBEDDING_MODEL_MISSING"


class StoreError(SemcacheError):
    """The store failed."""

    default_reason = "STORE_FAILED"


class StoreFullError(StoreError):
    """The disk or the store's map is full. Nothing is stored, but stored answers are still served."""

    default_reason = "STORE_FULL"


class StoreUnusableError(StoreError):
    """The store can't be opened.

    Its format is newer, it belongs to another secret, another process has it open, or its path can't be read.
    """

    default_reason = "STORE_UNUSABLE"


class SettingsError(SemcacheError):
    """The settings are wrong. The error names all problems at once.

    Attributes:
        problems: one sentence for each problem; it begins with the setting's dotted name.
    """

    default_reason = "BAD_SETTINGS"

    def __init__(self, problems: Sequence[str], *, source: str = "") -> None:
        where = f" in {source}" if source else ""
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count}{where}: " + "; ".join(problems))
        self.problems = tuple(problems)


class StartError(SemcacheError):
    """The server can't start, for example because a port is in use or a library is missing."""

    default_reason = "START_FAILED"


FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says when there is no room: the disk, the user's quota, the largest file."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})
"""What the kernel answers when this process or its machine has no descriptor, memory or local port left."""


def exhaustion_behind(error: BaseException) -> ServerExhaustedError | None:
    """Return the error of this process that has run out of something, if that is what `error` comes of; else None.

    Libraries wrap such failures in errors of their own: an HTTP client reports a lack of descriptors as a failed
    connection. So the causes of `error` are looked at too.
    """
    for cause in _causes(error):
        if isinstance(cause, MemoryError):
            lack = "memory"
        elif isinstance(cause, RecursionError):
            lack = "space on its stack"
        elif isinstance(cause, OSError) and cause.errno in _EXHAUSTED:
            lack = f"resources of its machine ({errno.errorcode[cause.errno or 0]})"
        else:
            continue
        exhaustion = ServerExhaustedError(
            f"The server itself ran out of {lack}.",
            hint="Try again later; the operator should give it more memory or file descriptors, or fewer calls.",
        )
        exhaustion.__cause__ = error
        return exhaustion
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and everything that it was raised from or holds, each once."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += (cause.__cause__, None if cause.__suppress_context__ else cause.__context__)
        if isinstance(cause, BaseExceptionGroup):
            waiting += cause.exceptions
