"""A semantic cache for LLM requests, over HTTP and gRPC.

`import semcache` offers the clients and loads neither gRPC nor a model. `docs/architecture.md` lists the rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semcache.client import (
        AnswerStream,
        Client,
        ClientError,
        Completion,
        Lookup,
        Status,
        Stored,
        SyncAnswerStream,
        SyncClient,
    )

__version__ = "0.1.0"

__all__ = [
    "AnswerStream",
    "Client",
    "ClientError",
    "Completion",
    "Lookup",
    "Status",
    "Stored",
    "SyncAnswerStream",
    "SyncClient",
    "__version__",
]


def __getattr__(name: str) -> object:
    """Import the clients when one of their names is first used, so that `import semcache` alone stays light."""
    if name in __all__:
        import semcache.client

        return getattr(semcache.client, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
