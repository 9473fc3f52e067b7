"""What each protocol says of its calls and answers, so that the router needs to know none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from semcache.model import Answer, LostAnswer
from semcache.protocols.lost import ReceivedBody


class StreamAssembler(Protocol):
    """Puts a stream's events together into the one body that a plain call would have returned."""

    def add(self, chunk: bytes) -> None:
        """Add the JSON of one event.

        Raises:
            UpstreamError: it is no such JSON, or it reports an error.
        """
        ...

    def finish(self) -> None:
        """End the stream at its [DONE]."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the answer is whole."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the protocol's last event has come, so that nothing may follow it."""
        ...

    @property
    def flaw(self) -> str:
        """Why the answer isn't stored, a stable token; empty for a sound one."""
        ...

    def whole(self) -> bytes:
        """Return the JSON of the whole answer."""
        ...


class BodyEdit(Protocol):
    """Edits a caller's body for a target, and leaves every byte as it is that needn't change."""

    def __call__(self, body: bytes, *, model: str, stream: bool, asks_usage: bool = True) -> bytes:
        """Return the body with the target's model, as a plain or a streamed call.

        Args:
            body: the caller's JSON.
            model: the model that the target is asked for.
            stream: whether the answer comes as a stream.
            asks_usage: whether a streamed call may ask for its usage where the protocol doesn't send it unasked.

        Raises:
            InvalidRequestError: the body is no JSON object, or names a key twice.
        """
        ...


class AnswerReader(Protocol):
    """Reads a target's whole answer."""

    def __call__(self, body: bytes, *, target_model: str = "") -> Answer:
        """Return the answer, with what its body says; the body stays as it is.

        Args:
            body: the protocol's JSON of a whole answer.
            target_model: the model that the target was asked for, which counts where the answer names none.

        Raises:
            UpstreamError: the body is no such JSON, or reports an error with a status of success.
        """
        ...


class Replay(Protocol):
    """A whole answer that was read once, and is replayed as a stream any number of times."""

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes in memory, about: the body and what was read of it."""
        ...

    def chunks(self, *, include_usage: bool) -> Iterator[bytes]:
        """Yield the JSON of each event that a provider would have streamed, in order, each when it is asked for.

        Args:
            include_usage: whether the caller asked for the chunk that tells the usage alone.
        """
        ...


def _as_it_is(body: bytes) -> bytes:
    return body


@dataclass(frozen=True, slots=True, eq=False)
class AnswerForm:
    """How one protocol's calls are sent, and how its answers are read; there is one object of each.

    Attributes:
        path: what is appended to a target's base URL.
        key_header: the header that carries a target's key: `authorization`, as a bearer's, or another, with the key
            alone.
        headers: sent with each call that doesn't bring its own value of them.
        edit: edits a caller's body.
        read: reads a whole answer.
        assembler: returns an assembler for one stream.
        replay: reads the body of a whole answer that `read` took, to replay it.
        generated: returns all text that a whole answer has generated, for an estimate of its tokens.
        lost: returns the lost answer in what a target has sent; None when there is none that would be charged.
        shared: returns a whole answer as another request may get it than the one that it was made for.
    """

    path: str
    key_header: str
    headers: Mapping[str, str]
    edit: BodyEdit
    read: AnswerReader
    assembler: Callable[[], StreamAssembler]
    replay: Callable[[bytes], Replay]
    generated: Callable[[bytes], str]
    lost: Callable[[ReceivedBody, str], LostAnswer | None]
    shared: Callable[[bytes], bytes] = _as_it_is
