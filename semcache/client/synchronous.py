"""The client for threads and scripts: the same calls, blocking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar, Unpack

import grpc

from semcache.client import arguments as build
from semcache.client import results
from semcache.client.arguments import CompleteArguments, Grouping, LookupArguments, Seconds, StoreArguments
from semcache.client.connection import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, OPTIONS, Connection
from semcache.client.failures import ClientError, broken_stream, translated
from semcache.client.results import Completion, Lookup, Stored
from semcache.v1 import semcache_pb2 as pb
from semcache.v1 import semcache_pb2_grpc as pb_grpc

In = TypeVar("In")
Out = TypeVar("Out")


class _Call(Protocol):
    """A call that streams: gRPC's stubs have no public name for it."""

    def __iter__(self) -> Iterator[pb.CompleteStreamResponse]: ...

    def cancel(self) -> object: ...


class SyncAnswerStream:
    """An answer as it arrives: iterate it for pieces of text, or `chunks()` for OpenAI's own chunks; once.

    Leaving the `with` block, or `cancel()`, ends the call.

    Attributes:
        text: what has arrived so far.
        outcome: what the server says: its decision from the first piece on, usage and cost at the end; None before.
        finished: the answer is whole.
    """

    def __init__(self, call: _Call, address: str) -> None:
        self._call = call
        self._address = address
        self.text = ""
        self.outcome: pb.Outcome | None = None
        self.finished = False

    def chunks(self) -> Iterator[bytes]:
        """Each `chat.completion.chunk` as JSON.

        Raises:
            ClientError: the call failed, also half-way; STREAM_BROKEN when it ended without being whole.
        """
        for chunk, _ in self._pieces():
            yield chunk

    def __iter__(self) -> Iterator[str]:
        for _, text in self._pieces():
            if text:
                yield text

    def _pieces(self) -> Iterator[tuple[bytes, str]]:
        with translated(self._address):
            for frame in self._call:
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
        """Ends the call; the server goes on without this caller."""
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()


class SyncClient:
    """A connection to a semcache server, safe to share between threads. Every call may raise `ClientError`."""

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
        """See `Connection` for the arguments. It connects at the first call."""
        self._connection = Connection(
            address, api_key, tls, root_certificate, client_certificate, client_key, timeout_s
        )
        credentials = self._connection.credentials()
        if credentials is None:
            self._channel = grpc.insecure_channel(address, OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, credentials, OPTIONS)
        self._stub = pb_grpc.SemanticCacheServiceStub(self._channel)

    def complete(self, *, timeout_s: float | None = None, **arguments: Unpack[CompleteArguments]) -> Completion:
        """The answer, from the cache or from the upstream."""
        return results.completion(self._ask(self._stub.Complete, build.complete_request(arguments), timeout_s))

    def stream(self, *, timeout_s: float | None = None, **arguments: Unpack[CompleteArguments]) -> SyncAnswerStream:
        """The answer in pieces."""
        connection = self._connection
        call = self._stub.CompleteStream(
            build.stream_request(arguments), timeout=connection.timeout(timeout_s), metadata=connection.metadata
        )
        return SyncAnswerStream(call, connection.address)

    def lookup(
        self,
        *,
        want_lease: bool = False,
        lease_ttl: Seconds | None = None,
        timeout_s: float | None = None,
        **arguments: Unpack[LookupArguments],
    ) -> Lookup:
        """What the cache has; never asks an upstream."""
        request = build.lookup_request(arguments, want_lease=want_lease, lease_ttl=lease_ttl)
        return results.lookup(self._ask(self._stub.Lookup, request, timeout_s))

    def store(self, *, timeout_s: float | None = None, **arguments: Unpack[StoreArguments]) -> Stored:
        """Store an answer that the caller made; returns when it is durable."""
        return results.stored(self._ask(self._stub.Store, build.store_request(arguments), timeout_s))

    def lookup_batch(
        self, items: Sequence[LookupArguments], *, timeout_s: float | None = None
    ) -> list[Lookup | ClientError]:
        """Many lookups in one message, each with a result or an error of its own, in order."""
        request = pb.LookupBatchRequest(requests=[build.lookup_request(item) for item in items])
        return results.lookups((self._ask(self._stub.LookupBatch, request, timeout_s)).results)

    def store_batch(
        self, items: Sequence[StoreArguments], *, timeout_s: float | None = None
    ) -> list[Stored | ClientError]:
        """Many stores in one message, each with a result or an error of its own, in order."""
        request = pb.StoreBatchRequest(requests=[build.store_request(item) for item in items])
        return results.stores((self._ask(self._stub.StoreBatch, request, timeout_s)).results)

    def explain(
        self, *, max_candidates: int = 0, timeout_s: float | None = None, **arguments: Unpack[CompleteArguments]
    ) -> pb.ExplainResponse:
        """What a `complete` would do, and why; nothing is done."""
        return self._ask(self._stub.Explain, build.explain_request(arguments, max_candidates), timeout_s)

    def report_verdict(self, hit_id: str, *, right: bool, judge: str = "", note: str = "") -> pb.ReportVerdictResponse:
        """Say whether a hit was right; a wrong entry isn't served to such a request again."""
        return self._ask(self._stub.ReportVerdict, build.verdict_request(hit_id, right, judge, note), None)

    def invalidate(
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
        """Remove the entries that match every argument given; without `apply` only count them."""
        request = build.invalidate_request(
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
        return self._ask(self._stub.Invalidate, request, None)

    def list_entries(
        self, *, namespace: str = "", tag: str = "", model: str = "", limit: int = 0
    ) -> Iterator[pb.Entry]:
        """The caller's live entries that match every argument given, in no promised order."""
        connection = self._connection
        request = pb.ListEntriesRequest(namespace=namespace, tag=tag, model=model, limit=limit)
        with translated(connection.address):
            call = self._stub.ListEntries(request, timeout=connection.timeout(None), metadata=connection.metadata)
            for response in call:
                yield response.entry

    def stats(self) -> pb.GetStatsResponse:
        """The state of the server, over all tenants."""
        return self._ask(self._stub.GetStats, pb.GetStatsRequest(), None)

    def savings(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        models: Iterable[str] = (),
        task_types: Iterable[str] = (),
        group_by: Iterable[Grouping] = (),
        tenants: Iterable[str] | Literal["all"] = (),
    ) -> pb.GetSavingsResponse:
        """What the caller's tenant spent and saved, from the durable ledger, and its budgets.

        `tenants` asks for others', which the server allows to those whom it lets read all savings.
        """
        request = build.savings_request(
            start=start, end=end, models=models, task_types=task_types, group_by=group_by, tenants=tenants
        )
        return self._ask(self._stub.GetSavings, request, None)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: grpc.UnaryUnaryMultiCallable[In, Out], request: In, timeout_s: float | None) -> Out:
        connection = self._connection
        with translated(connection.address):
            return method(request, timeout=connection.timeout(timeout_s), metadata=connection.metadata)
