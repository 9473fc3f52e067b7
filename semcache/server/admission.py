"""Admission of a call, whatever the transport: its caller, its place among those in flight, its size, its errors."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import structlog

from semcache.errors import DeadlineExceededError, MessageTooLargeError, SemcacheError, exhaustion_behind
from semcache.server.auth import Authenticator, Caller, Credentials
from semcache.server.gate import Gate
from semcache.settings import Role
from semcache.wire.errors_table import internal_error

_log = structlog.get_logger(__name__)
HARD_LIMIT_FACTOR = 4
"""A message beyond this many limits is refused by its transport or not read to its end. Up to there its sender is told
why."""


class Admission:
    """Lets calls in, in this order: caller, role, gate, deadline; then the message's size, once it is known.

    A call enters when the transport hands it over, before its message is read, so that all calls in the process are
    counted. What fails in a call leaves it as a `SemcacheError`.

    ```
    with admission.enter(credentials, remaining_s) as caller:
        raw = await read()
        admission.check_size(len(raw))
        ...
    ```
    """

    def __init__(
        self, authenticator: Authenticator, gate: Gate, max_message_bytes: int, on_failure: Callable[[str], None]
    ) -> None:
        """`on_failure` gets the reason of every call that fails, to count it."""
        self.reads_headers = authenticator.reads_headers
        """Whether a front must collect credentials."""
        self.reads_certificates = authenticator.reads_certificates
        """Whether a front must collect the names of client certificates."""
        self._on_failure = on_failure
        self._authenticator = authenticator
        self._gate = gate
        self._max_message_bytes = max_message_bytes

    def enter(self, credentials: Credentials, remaining_s: float | None = None, *, needs: Role = "read") -> Admitted:
        """Return the context of one call; entering it gives the caller.

        It is a synchronous context, since nothing in it waits: a full gate refuses at once.

        Args:
            credentials: what the caller shows of itself.
            remaining_s: seconds until the caller's deadline; None for no deadline.
            needs: the role that the call needs.

        Raises:
            UnauthenticatedError, PermissionDeniedError: the caller isn't known, or may not do this.
            ShuttingDownError, OverloadedError, OverLimitError: the gate is closed or full.
            DeadlineExceededError: the deadline had passed when the call was handed over.
        """
        return Admitted(self, credentials, remaining_s, needs)

    def admit(self, credentials: Credentials, remaining_s: float | None, needs: Role) -> Caller:
        """Let one call in and return its caller; `release` must follow. Nothing is held when it raises."""
        caller = self._authenticator.caller(credentials)
        caller.require(needs)
        self._gate.enter(caller.tenant)
        if remaining_s is not None and remaining_s <= 0:
            self._gate.leave(caller.tenant)
            raise DeadlineExceededError("The call's deadline had passed when it arrived.")
        return caller

    def check_size(self, size_bytes: int) -> None:
        """Refuse a message that is too large.

        Raises:
            MessageTooLargeError: the message is larger than `server.max_message_bytes`.
        """
        if size_bytes > self._max_message_bytes:
            raise MessageTooLargeError(
                f"The message has {size_bytes} bytes; the limit is {self._max_message_bytes}.",
                hint="Send less, or raise server.max_message_bytes.",
            )

    def release(self, caller: Caller) -> None:
        """Count one call of the caller's tenant out."""
        self._gate.leave(caller.tenant)

    def raise_for_caller(self, error: Exception) -> None:
        """Count a failure. A defect is logged and raised as another error, one that tells the caller nothing of it.

        Raises:
            SemcacheError: `error` is a defect; it is the cause.
        """
        if isinstance(error, SemcacheError):
            self._on_failure(error.reason)
            return
        _log.error("server.call_failed", exc_info=error)
        failure = exhaustion_behind(error) or internal_error()
        self._on_failure(failure.reason)
        raise failure from error


class Admitted:
    """One call's stay. Leaving it makes room for another call and turns a defect into an error for the caller."""

    __slots__ = ("_admission", "_caller", "_credentials", "_needs", "_remaining_s")

    def __init__(self, admission: Admission, credentials: Credentials, remaining_s: float | None, needs: Role) -> None:
        self._admission = admission
        self._credentials = credentials
        self._remaining_s = remaining_s
        self._needs = needs

    def __enter__(self) -> Caller:
        admission = self._admission
        try:
            self._caller = caller = admission.admit(self._credentials, self._remaining_s, self._needs)
        except Exception as error:
            admission.raise_for_caller(error)
            raise
        return caller

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        admission = self._admission
        admission.release(self._caller)
        if isinstance(error, Exception):
            admission.raise_for_caller(error)
