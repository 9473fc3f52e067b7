"""The tree of errors that semcache raises on purpose; each carries a stable reason, one sentence and a way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


class SemcacheError(Exception):
    """Root of the tree.

    Attributes:
        reason: a stable UPPER_SNAKE token; clients may branch on it.
        message: one sentence that names the cause.
        hint: the way out, empty when there is none.
        metadata: string pairs for programs (an HTTP status, a limit, a field's name); never a prompt.
    """

    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reason = reason or self.default_reason
        self.metadata: Mapping[str, str] = metadata or {}

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InvalidRequestError(SemcacheError):
    """The request itself is wrong; sending it again can't help."""

    default_reason = "INVALID_REQUEST"


class UnknownModelError(SemcacheError):
    """No route serves the model alias that was asked for."""

    default_reason = "UNKNOWN_MODEL"


class NotFoundError(SemcacheError):
    """The named thing doesn't exist, or belongs to another tenant (the two are never told apart)."""

    default_reason = "NOT_FOUND"


class UnauthenticatedError(SemcacheError):
    """The caller showed no credential, or one that nobody knows."""

    default_reason = "UNAUTHENTICATED"


class PermissionDeniedError(SemcacheError):
    """The caller is known and not allowed to do this."""

    default_reason = "PERMISSION_DENIED"


class OverLimitError(SemcacheError):
    """The caller passed a limit of its own (its tenant's share, a message's size); others are served."""

    default_reason = "OVER_LIMIT"


class BudgetExceededError(SemcacheError):
    """What may be spent upstream in a period is spent; what the cache holds is served all the same.

    Attributes:
        retry_after_s: when the period ends, in seconds from now.
    """

    default_reason = "BUDGET_EXCEEDED"

    def __init__(self, message: str, *, retry_after_s: float, hint: str, metadata: Mapping[str, str]) -> None:
        super().__init__(message, hint=hint, metadata=metadata)
        self.retry_after_s = retry_after_s


class OverloadedError(SemcacheError):
    """A queue of the server is full; the same request may succeed later.

    Attributes:
        retry_after_s: when to try again, in seconds.
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
        super().__init__(message, hint=hint, reason=reason)
        self.retry_after_s = retry_after_s


class ShuttingDownError(SemcacheError):
    """The server is draining; another replica answers."""

    default_reason = "SHUTTING_DOWN"


class DeadlineExceededError(SemcacheError):
    """The caller's deadline passed before an answer was there."""

    default_reason = "DEADLINE_EXCEEDED"


class PreconditionFailedError(SemcacheError):
    """The state that the request builds on is gone: an expired lease, a lookup id that was forgotten."""

    default_reason = "PRECONDITION_FAILED"


class UpstreamError(SemcacheError):
    """The upstream gave no usable answer.

    Attributes:
        http_status: what the upstream answered with; None when no response arrived.
        body: the first bytes of the upstream's own error, as it sent them.
        retry_after_s: the upstream's Retry-After, in seconds, when it sent one.
    """

    default_reason = "UPSTREAM_FAILED"

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        body: bytes = b"",
        retry_after_s: float | None = None,
        hint: str = "",
        reason: str = "",
    ) -> None:
        metadata = {} if http_status is None else {"http_status": str(http_status)}
        if body:
            metadata["upstream_body"] = body[:2048].decode("utf-8", "replace")
        super().__init__(message, hint=hint, reason=reason, metadata=metadata)
        self.http_status = http_status
        self.body = body
        self.retry_after_s = retry_after_s


class UpstreamRefusedError(UpstreamError):
    """The upstream answered with a 4xx: its own judgement of the request, passed on as itself."""

    default_reason = "UPSTREAM_REFUSED"


class UpstreamTimedOutError(UpstreamError):
    """The upstream didn't answer within its timeout or the request's deadline."""

    default_reason = "UPSTREAM_TIMED_OUT"


class EmbeddingFailedError(SemcacheError):
    """The embedding model failed on a batch; every waiter of that batch gets this."""

    default_reason = "EMBEDDING_FAILED"


class ModelMissingError(SemcacheError):
    """No place that may hold the embedding model has it."""

    default_reason = "EMBEDDING_MODEL_MISSING"


class StoreError(SemcacheError):
    """The store can't do what was asked of it."""

    default_reason = "STORE_FAILED"


class StoreFullError(StoreError):
    """The disk or the store's map is full: nothing is stored, serving goes on."""

    default_reason = "STORE_FULL"


class StoreUnusableError(StoreError):
    """The store can't be opened: a newer format, another secret, another process's lock, an unreadable path."""

    default_reason = "STORE_UNUSABLE"


class SettingsError(SemcacheError):
    """The settings don't describe a server that could run; all problems at once.

    Attributes:
        problems: one sentence each, with the setting's dotted name first.
    """

    default_reason = "BAD_SETTINGS"

    def __init__(self, problems: Sequence[str], *, source: str = "") -> None:
        where = f" in {source}" if source else ""
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count}{where}: " + "; ".join(problems))
        self.problems = tuple(problems)


class StartError(SemcacheError):
    """The server can't start: a port in use, a missing library, an unreadable certificate."""

    default_reason = "START_FAILED"
