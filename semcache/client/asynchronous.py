"""The client for asyncio.

The client for threads, `synchronous.py`, is generated from this file: run `python scripts/unasync.py` after a change.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar, Unpack

import grpc

from semcache.client import messages, results
from semcache.client.arguments import CompleteArguments, Grouping, LookupArguments, Seconds, StoreArguments
from semcache.client.channels import AsyncChannel, AsyncFrames
from semcache.client.connection import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Connection
from semcache.client.failures import ClientError, broken_stream, translated
from semcache.client.results import Completion, Lookup, Stored
from semcache.v1 import semcache_pb2 as pb

Request = TypeVar("Request")
Response = TypeVar("Response")


class AnswerStream:
    """A streamed answer: iterate over it for pieces of text, or over `chunks()` for OpenAI's own chunks.

    It can be iterated over once. Leaving the `async with` block, or `cancel()`, ends the call.

    Attributes:
        text: the text that has arrived so far.
        outcome: what the server reports. None before the first piece; the decision from the first piece on; with usage
            and cost at the end.
        finished: whether the whole answer has arrived.
    """

    def __init__(self, call: AsyncFrames, address: str) -> None:
        self._call = call
        self._address = address
        self.text = ""
        self.outcome: pb.Outcome | None = None
        self.finished = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield each `chat.completion.chunk` as JSON.

        Raises:
            ClientError: the call failed, perhaps after some chunks; STREAM_BROKEN if it ended before the whole answer.
        """
        async for chunk, _ in self._pieces():
            yield chunk

    async def __aiter__(self) -> AsyncIterator[str]:
        async for _, text in self._pieces():
            if text:
                yield text

    async def _pieces(self) -> AsyncIterator[tuple[bytes, str]]:
        with translated(self._address):
            async for frame in self._call:
                kind = frame.WhichOneof("frame")
                if kind == "chunk":
                    text = results.delta_text(frame.chunk.openai_json)
                    self.text += text
                    yield frame.chunk.openai_json, text
                elif kind == "started":
                    self.outcome = frame.started.outcome
                elif kind == "finished":
                    self.outcome, self.finished = frame.finished.outcome, True
        if not self.finished:
            raise broken_stream(self._address)

    def cancel(self) -> None:
        """End the call; the server goes on without this caller."""
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()


class Client:
    """A connection to a semcache server, for one event loop. Every call may raise `ClientError`."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        api_key: str | None = None,
        tls: bool = False,
        root_certificate: Path | str | None = None,
        client_certificate: Path | str | None = None,
        client_key: Path | str | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
    ) -> None:
        """Prepare a connection. The network is used by the first call.

        Args:
            address: host and port of the server.
            api_key: the key that every call shows; None for no key.
            tls: whether to use TLS. Naming a certificate turns it on as well.
            root_certificate: PEM file of the authorities to trust; None for the system's own.
            client_certificate: PEM file that identifies this client; None for none.
            client_key: PEM file with the key of `client_certificate`.
            timeout_s: seconds after which a call fails, for calls that name no timeout; None for no limit.

        Raises:
            InvalidRequestError: BAD_ADDRESS, BAD_API_KEY or BAD_CERTIFICATE.
        """
        self._connection = Connection(
            address=address,
            api_key=api_key,
            tls=tls,
            root_certificate=root_certificate,
            client_certificate=client_certificate,
            client_key=client_key,
            timeout_s=timeout_s,
        )
        self._channel = AsyncChannel(self._connection)

    async def complete(self, *, timeout_s: float | None = None, **arguments: Unpack[CompleteArguments]) -> Completion:
        """Return the answer, from the cache or from the upstream."""
        request = messages.complete_request(arguments)
        return results.completion(await self._call(self._channel.stub.Complete, request, timeout_s))

    def stream(self, *, timeout_s: float | None = None, **arguments: Unpack[CompleteArguments]) -> AnswerStream:
        """Return the answer as a stream of pieces."""
        connection = self._connection
        request = messages.stream_request(arguments)
        call = self._channel.stub.CompleteStream(
            request, timeout=connection.timeout(timeout_s), metadata=connection.metadata
        )
        return AnswerStream(call, connection.address)

    async def lookup(
        self,
        *,
        want_lease: bool = False,
        lease_ttl: Seconds | None = None,
        timeout_s: float | None = None,
        **arguments: Unpack[LookupArguments],
    ) -> Lookup:
        """Return what the cache has for a request; an upstream is never called."""
        request = messages.lookup_request(arguments, want_lease=want_lease, lease_ttl=lease_ttl)
        return results.lookup(await self._call(self._channel.stub.Lookup, request, timeout_s))

    async def store(self, *, timeout_s: float | None = None, **arguments: Unpack[StoreArguments]) -> Stored:
        """Store an answer that the caller generated; return when it is durable."""
        request = messages.store_request(arguments)
        return results.stored(await self._call(self._channel.stub.Store, request, timeout_s))

    async def lookup_batch(
        self, items: Sequence[LookupArguments], *, timeout_s: float | None = None
    ) -> list[Lookup | ClientError]:
        """Look up many requests in one message; return a result or an error for each, in their order."""
        request = pb.LookupBatchRequest(requests=[messages.lookup_request(item) for item in items])
        response = await self._call(self._channel.stub.LookupBatch, request, timeout_s)
        return results.lookups(response.results)

    async def store_batch(
        self, items: Sequence[StoreArguments], *, timeout_s: float | None = None
    ) -> list[Stored | ClientError]:
        """Store many answers in one message; return a result or an error for each, in their order."""
        request = pb.StoreBatchRequest(requests=[messages.store_request(item) for item in items])
        response = await self._call(self._channel.stub.StoreBatch, request, timeout_s)
        return results.stores(response.results)

    async def explain(
        self, *, max_candidates: int = 0, timeout_s: float | None = None, **arguments: Unpack[CompleteArguments]
    ) -> pb.ExplainResponse:
        """Return what `complete` would do with a request, and why; nothing is served, stored or spent."""
        request = messages.explain_request(arguments, max_candidates)
        return await self._call(self._channel.stub.Explain, request, timeout_s)

    async def report_verdict(
        self, hit_id: str, *, right: bool, judge: str = "", note: str = ""
    ) -> pb.ReportVerdictResponse:
        """Report whether a hit was right; an entry reported as wrong isn't served to such a request again."""
        request = messages.verdict_request(hit_id, right=right, judge=judge, note=note)
        return await self._call(self._channel.stub.ReportVerdict, request, None)

    async def invalidate(
        self,
        *,
        entry_ids: Iterable[str] = (),
        tags: Iterable[str] = (),
        sources: Iterable[str] = (),
        namespace: str = "",
        model: str = "",
        older_than: Seconds | None = None,
        created_before: datetime | None = None,
        everything: bool = False,
        apply: bool = False,
    ) -> pb.InvalidateResponse:
        """Remove the entries that match every given argument; without `apply`, only count them."""
        request = messages.invalidate_request(
            entry_ids=entry_ids,
            tags=tags,
            sources=sources,
            namespace=namespace,
            model=model,
            older_than=older_than,
            created_before=created_before,
            everything=everything,
            apply=apply,
        )
        return await self._call(self._channel.stub.Invalidate, request, None)

    async def list_entries(
        self, *, namespace: str = "", tag: str = "", model: str = "", limit: int = 0
    ) -> AsyncIterator[pb.Entry]:
        """Yield the caller's live entries that match every given argument; their order isn't defined."""
        connection = self._connection
        request = pb.ListEntriesRequest(namespace=namespace, tag=tag, model=model, limit=limit)
        with translated(connection.address):
            call = self._channel.stub.ListEntries(
                request, timeout=connection.timeout(None), metadata=connection.metadata
            )
            async for response in call:
                yield response.entry

    async def stats(self) -> pb.GetStatsResponse:
        """Return the tenant's counters; of all tenants, with the server's state, for those who may read them."""
        return await self._call(self._channel.stub.GetStats, pb.GetStatsRequest(), None)

    async def savings(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        models: Iterable[str] = (),
        task_types: Iterable[str] = (),
        group_by: Iterable[Grouping] = (),
        tenants: Iterable[str] | Literal["all"] = (),
    ) -> pb.GetSavingsResponse:
        """Return what the caller's tenant spent and saved, from the durable ledger, with the tenant's budgets.

        `tenants` names other tenants; the server allows that to callers named in its setting `auth.read_all_savings`.
        """
        request = messages.savings_request(
            start=start, end=end, models=models, task_types=task_types, group_by=group_by, tenants=tenants
        )
        return await self._call(self._channel.stub.GetSavings, request, None)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request, timeout_s: float | None
    ) -> Response:
        connection = self._connection
        with translated(connection.address):
            return await method(request, timeout=connection.timeout(timeout_s), metadata=connection.metadata)
