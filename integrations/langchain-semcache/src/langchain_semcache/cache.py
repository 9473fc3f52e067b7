"""`SemcacheCache`: LangChain's cache interface over semcache's gRPC clients.

LangChain asks `lookup` before it calls a model, and gives the answer to `update` afterwards. Both become calls of
semcache's look-aside API, Lookup and Store. The server never calls a model for them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.outputs import Generation

from langchain_semcache.answers import UnreadableError, UnstorableError, read_generations, write_completion
from langchain_semcache.misses import Miss, Misses
from langchain_semcache.outages import Outages
from langchain_semcache.requests import request_body
from semcache.client import (
    DEFAULT_ADDRESS,
    Client,
    ClientError,
    Lookup,
    LookupArguments,
    Status,
    StoreArguments,
    Stored,
    SyncClient,
)

_log = logging.getLogger("langchain_semcache")
_LEASE_EXPIRED = "LEASE_EXPIRED"


class ConnectionArguments(TypedDict, total=False):
    """How to reach the server, as semcache's own clients take it."""

    api_key: str | None
    tls: bool
    root_certificate: Path | str | None
    client_certificate: Path | str | None
    client_key: Path | str | None


class SemcacheCache(BaseCache):
    """A cache for `langchain_core.globals.set_llm_cache`, or for the `cache` of one model.

    Threads and event loops may share one object. The blocking methods use one channel, made by the first of them. The
    asynchronous ones use one for each event loop, since such a channel belongs to the loop that made it.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        namespace: str = "langchain",
        model: str = "langchain",
        ttl: timedelta | float | None = None,
        tags: Iterable[str] = (),
        similarity_threshold: float | None = None,
        knowledge_version: str = "",
        lease_s: float | None = None,
        timeout_s: float = 5.0,
        on_error: Literal["miss", "raise"] = "miss",
        pause_s: float = 5.0,
        on_hit: Callable[[Lookup], object] | None = None,
        **connection: Unpack[ConnectionArguments],
    ) -> None:
        """Prepare the cache. The network is used by the first lookup.

        Args:
            address: host and port of the server's gRPC API.
            namespace: the division of the tenant's cache that is this object's own; `clear` empties it.
            model: the name under which the server counts the requests; it needs no route there.
            ttl: how long answers are kept, in seconds or as a timedelta; None for the server's default.
            tags: labels for invalidation, of every answer that is stored.
            similarity_threshold: the least cosine of a semantic hit; None for the server's threshold. The stricter of
                both counts.
            knowledge_version: the version of the facts behind the answers; answers of one are never served to another.
            lease_s: seconds for which equal requests wait for the one that missed first; None: they don't wait.
            timeout_s: seconds after which a call to the server fails; a lookup has `lease_s` beside.
            on_error: what follows a call that fails. "miss": a warning, and the model is called. "raise": the error.
            pause_s: seconds for which an unreachable server isn't asked again, with `on_error="miss"`.
            on_hit: called with what the server says of each hit: its status, similarity, age and `hit_id`.
            connection: `api_key` and certificates, as semcache's clients take them.

        Raises:
            InvalidRequestError: BAD_ADDRESS or BAD_API_KEY.
        """
        self._address = address
        self._connection = connection
        self._namespace = namespace
        self._model = model
        self._ttl = ttl
        self._tags = tuple(tags)
        self._similarity_threshold = similarity_threshold
        self._knowledge_version = knowledge_version
        self._lease_s = lease_s
        self._timeout_s = timeout_s
        self._raises = on_error == "raise"
        self._on_hit = on_hit
        self._outages = Outages(0.0 if self._raises else pause_s, time.monotonic)
        self._misses = Misses()
        self._lock = threading.Lock()
        self._sync_client: SyncClient | None = None
        self._clients: dict[asyncio.AbstractEventLoop, Client] = {}
        Client(address, **connection)  # It opens nothing: a wrong address is told here, not by the first lookup.

    def __repr__(self) -> str:
        return f"SemcacheCache({self._address!r}, namespace={self._namespace!r}, misses={len(self._misses)})"

    # -- for threads

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return the stored generations for a prompt and a model with its parameters; None for a miss.

        Raises:
            ClientError: the call failed, with `on_error="raise"`.
        """
        if self._outages.pausing():
            return None
        body, client = self._body(prompt, llm_string), self._client_of_threads()
        try:
            found = client.lookup(**self._lease_arguments(), timeout_s=self._lookup_timeout_s, **self._scope(body))
        except ClientError as error:
            self._note_failure(error)
            return None
        return self._read(body, found)

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Store what a model answered.

        Raises:
            ClientError: the call failed, with `on_error="raise"`.
        """
        body = self._body(prompt, llm_string)
        deposit = self._make_deposit(body, return_val)
        if deposit is None:
            return
        client = self._client_of_threads()
        try:
            stored = client.store(timeout_s=self._timeout_s, **deposit)
        except ClientError as error:
            self._note_failure(error)
        else:
            self._note_stored(stored)

    def clear(self, **kwargs: Any) -> None:
        """Remove this cache's answers from the server: all of its namespace, or those that the arguments name.

        Args:
            kwargs: `tags`: only answers with one of these; `older_than`: only answers older than so many seconds.

        Raises:
            ClientError: the call failed, whatever `on_error` says: answers that should have gone would be served.
            TypeError: an argument has another name, so that a misspelt one doesn't remove everything.
        """
        self._client_of_threads().invalidate(namespace=self._namespace, apply=True, **_selector(**kwargs))

    def close(self) -> None:
        """Close the connection of the blocking methods; the next one opens another."""
        with self._lock:
            client, self._sync_client = self._sync_client, None
        if client is not None:
            client.close()

    # -- for event loops

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return the stored generations for a prompt and a model with its parameters; None for a miss.

        Raises:
            ClientError: the call failed, with `on_error="raise"`.
        """
        if self._outages.pausing():
            return None
        body, client = self._body(prompt, llm_string), self._client_of_loop()
        try:
            found = await client.lookup(
                **self._lease_arguments(), timeout_s=self._lookup_timeout_s, **self._scope(body)
            )
        except ClientError as error:
            self._note_failure(error)
            return None
        return self._read(body, found)

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Store what a model answered.

        Raises:
            ClientError: the call failed, with `on_error="raise"`.
        """
        body = self._body(prompt, llm_string)
        deposit = self._make_deposit(body, return_val)
        if deposit is None:
            return
        client = self._client_of_loop()
        try:
            stored = await client.store(timeout_s=self._timeout_s, **deposit)
        except ClientError as error:
            self._note_failure(error)
        else:
            self._note_stored(stored)

    async def aclear(self, **kwargs: Any) -> None:
        """Remove this cache's answers from the server: all of its namespace, or those that the arguments name.

        Args:
            kwargs: `tags`: only answers with one of these; `older_than`: only answers older than so many seconds.

        Raises:
            ClientError: the call failed, whatever `on_error` says: answers that should have gone would be served.
            TypeError: an argument has another name, so that a misspelt one doesn't remove everything.
        """
        await self._client_of_loop().invalidate(namespace=self._namespace, apply=True, **_selector(**kwargs))

    async def aclose(self) -> None:
        """Close the connection that the running event loop uses; its next call opens another."""
        with self._lock:
            client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    # -- what both share

    @property
    def _lookup_timeout_s(self) -> float:
        return self._timeout_s + (self._lease_s or 0.0)

    def _client_of_threads(self) -> SyncClient:
        with self._lock:
            if self._sync_client is None:
                self._sync_client = SyncClient(self._address, **self._connection)
            return self._sync_client

    def _client_of_loop(self) -> Client:
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._clients:
                # A program that calls asyncio.run often would otherwise keep a channel of each loop that has ended.
                self._clients = {known: client for known, client in self._clients.items() if not known.is_closed()}
                self._clients[loop] = Client(self._address, **self._connection)
            return self._clients[loop]

    def _body(self, prompt: str, llm_string: str) -> bytes:
        return request_body(prompt, llm_string, self._model)

    def _lease_arguments(self) -> _LeaseArguments:
        return _LeaseArguments() if self._lease_s is None else _LeaseArguments(want_lease=True, lease_ttl=self._lease_s)

    def _scope(self, body: bytes) -> LookupArguments:
        scope = LookupArguments(openai_json=body, namespace=self._namespace, knowledge_version=self._knowledge_version)
        if self._similarity_threshold is not None:
            scope["similarity_threshold"] = self._similarity_threshold
        return scope

    def _read(self, body: bytes, found: Lookup) -> list[Generation] | None:
        """Return the generations of a hit; remember a miss and return None."""
        self._outages.note_success()
        if found.hit:
            try:
                restored = read_generations(found.openai_json)
            except UnreadableError as error:
                _log.warning("the entry %s can't be used: %s", found.entry_id, error)
                return None
            if self._on_hit is not None:
                self._on_hit(found)
            return restored
        is_storable = found.status is not Status.BYPASS
        self._misses.remember(_digest(body), Miss(found.lookup_id, found.lease_id, is_storable))
        return None

    def _make_deposit(self, body: bytes, answers: Sequence[Generation]) -> StoreArguments | None:
        """Return what is to be stored; None where the server wouldn't take it, or LangChain couldn't restore it."""
        miss = self._misses.take(_digest(body))
        if not answers or self._outages.pausing() or (miss is not None and not miss.is_storable):
            return None
        try:
            answer = write_completion(answers, self._model)
        except UnstorableError as error:
            _log.warning("an answer isn't cached: %s", error)
            return None
        # The request goes along: a server that has forgotten the lookup stores the answer all the same.
        deposit = StoreArguments(
            openai_json=body,
            namespace=self._namespace,
            knowledge_version=self._knowledge_version,
            answer=answer,
            tags=self._tags,
        )
        if miss is not None:
            deposit["lookup_id"], deposit["lease_id"] = miss.lookup_id, miss.lease_id
        if self._ttl is not None:
            deposit["ttl"] = self._ttl
        return deposit

    def _note_stored(self, stored: Stored) -> None:
        self._outages.note_success()
        if not stored.stored:
            _log.debug("semcache didn't store an answer: %s", stored.reason)

    def _note_failure(self, error: ClientError) -> None:
        """Take note of a failed call; raise its error where this cache raises."""
        if error.reason == _LEASE_EXPIRED:  # Another caller has the lease by now, and stores its own answer.
            _log.debug("semcache didn't store an answer: %s", error.reason)
            return
        if self._raises:
            raise error
        self._outages.note_failure(error)


class _LeaseArguments(TypedDict, total=False):
    want_lease: bool
    lease_ttl: float


class _Selector(TypedDict, total=False):
    tags: Iterable[str]
    older_than: timedelta | float


def _selector(*, tags: Iterable[str] | None = None, older_than: timedelta | float | None = None) -> _Selector:
    selector = _Selector()
    if tags is not None:
        selector["tags"] = tuple(tags)
    if older_than is not None:
        selector["older_than"] = older_than
    return selector


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
