"""Typed clients of a semcache server: `Client` for asyncio, `SyncClient` for threads and scripts.

The room translates Python arguments into messages, messages into results, and a failed call into `ClientError`.
It starts no thread and remembers nothing between calls but its channel. `SyncClient` is generated from `Client`.

async with Client("127.0.0.1:50051") as client:
    answer = await client.complete(model="gpt-4o-mini", prompt="What is a semantic cache?")
    print(answer.text, answer.status, answer.saved_usd)
"""

from semcache.client.arguments import (
    CompleteArguments,
    LookupArguments,
    PromptArguments,
    StoreArguments,
)
from semcache.client.asynchronous import AnswerStream, Client
from semcache.client.connection import DEFAULT_ADDRESS
from semcache.client.failures import ClientError
from semcache.client.results import Completion, Lookup, Stored
from semcache.client.synchronous import SyncAnswerStream, SyncClient
from semcache.model import Status

__all__ = [
    "DEFAULT_ADDRESS",
    "AnswerStream",
    "Client",
    "ClientError",
    "CompleteArguments",
    "Completion",
    "Lookup",
    "LookupArguments",
    "PromptArguments",
    "Status",
    "StoreArguments",
    "Stored",
    "SyncAnswerStream",
    "SyncClient",
]
