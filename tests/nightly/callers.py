"""Callers that store, ask, invalidate and judge over gRPC, and tell a history and the books what they were told."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import grpc
from google.protobuf.duration_pb2 import Duration

from benchmarks.books import Books, Told
from semcache.v1 import semcache_pb2 as pb
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub
from tests.integration.calls import prompt
from tests.nightly.history import History

_SYLLABLES = ("ba", "do", "fi", "gu", "ke", "lo", "mi", "na", "pu", "re", "so", "ti", "vu", "wa", "zo")
_TEXTS = 12
"""Requests of one caller, each with a paraphrase."""
_SHORT_TTL_S = 2.0
_BATCH = 200
_FULL = 0.6
"""Share of its limit that a store holds at least once it evicts: eviction starts at 0.8 of it."""
_REFUSED = "more calls than it can answer"
"""What a call is told that was refused for load."""
_GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
_BROKEN = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}


def request_texts(seed: int) -> list[tuple[str, str]]:
    """Return a caller's requests, each with a paraphrase. Requests of different seeds share no word that matters."""
    chance = random.Random(seed)
    words = ["".join(chance.choices(_SYLLABLES, k=5)) for _ in range(_TEXTS * 4)]
    texts = ["how does a {} {} differ from a {} {}".format(*words[n : n + 4]) for n in range(0, len(words), 4)]
    return [(text, f"please tell me {text}") for text in texts]


def tag_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Account:
    """What all callers of one folder were told.

    Attributes:
        life: the number of the server's life.
        acknowledged: operations that ended with an answer.
        spent_nanousd: what they were told was spent.
        full: refusals for want of space.
        disk_filled: whether the disk was filled at some time, so that a server evicts entries to go on.
    """

    history: History
    books: Books = field(default_factory=Books)
    life: int = 0
    acknowledged: int = 0
    spent_nanousd: int = 0
    full: int = 0
    disk_filled: bool = False
    versions: Iterator[int] = field(default_factory=itertools.count)

    def told(self, outcome: pb.Outcome, began: int) -> str:
        """Record the money of an answer, and return its status."""
        status = pb.Status.Name(outcome.status).removeprefix("STATUS_").lower()
        self._spent(outcome.request_id, status, outcome.cost, outcome.saved, began)
        return status

    def told_of_store(self, response: pb.StoreResponse, began: int) -> None:
        """Record what a caller's own answer had cost."""
        self._spent(response.request_id, "miss", response.cost, pb.Cost(), began)

    def failed(self, error: grpc.aio.AioRpcError) -> bool:
        """Record a call that failed, and return whether the server still answers."""
        if error.code() in _BROKEN:
            self.books.problems.append(f"a call ended with {error.code()}: {error.details()}")
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            self.full += 1
        return error.code() not in _GONE or _REFUSED in str(error.details())

    def _spent(self, request_id: str, status: str, cost: pb.Cost, saved: pb.Cost, began: int) -> None:
        self.acknowledged += 1
        self.spent_nanousd += cost.total_nanousd
        self.books.told.append(
            Told(request_id, status, cost.total_nanousd, saved.total_nanousd, began, self.books.moment(), self.life)
        )


class CallerOfMany:
    """One caller, whose requests nobody else sends: what it was told last is what its entries must be."""

    def __init__(self, stub: SemanticCacheServiceStub, account: Account, seed: int, chance: random.Random) -> None:
        self._stub = stub
        self._account = account
        self._history = account.history
        self._texts = request_texts(seed)
        self._chance = chance

    async def act(self) -> bool:
        """Do one operation; return whether the server still answers."""
        base, paraphrase = self._chance.choice(self._texts)
        text = self._chance.choice((base, base, paraphrase))
        act: Callable[[str], Awaitable[None]]
        act = self._chance.choices(
            (self._store, self._complete, self._judge, self._invalidate, self._look_up), (6, 8, 4, 3, 2)
        )[0]
        try:
            await act(text)
        except grpc.aio.AioRpcError as error:
            return self._account.failed(error)
        return True

    async def _store(self, text: str) -> None:
        answer = json.dumps([text, f"stored {next(self._account.versions)}"])
        answer += " " * self._chance.choice((0, 100, 3000))
        ttl_s = _SHORT_TTL_S if self._chance.random() < 0.05 else 3600.0
        began = self._account.books.moment()
        request = pb.StoreRequest(
            prompt=prompt(text),
            text=answer,
            tags=[tag_of(text)],
            ttl=Duration(seconds=int(ttl_s)),
            usage=pb.Usage(input_tokens=self._chance.randrange(1, 5000), output_tokens=self._chance.randrange(1, 900)),
        )
        sent_s = time.time()
        try:
            response = await self._stub.Store(request)
        except grpc.aio.AioRpcError:
            self._history.maybe_stored(text, answer, expires_s=sent_s + ttl_s)
            raise
        self._account.told_of_store(response, began)
        if response.stored:
            expires_s = response.expire_time.ToNanoseconds() / 1e9
            self._history.stored(text, answer, entry_id=response.entry_id, expires_s=expires_s)

    async def _complete(self, text: str) -> pb.Outcome:
        mode = self._chance.choices((pb.CACHE_MODE_DEFAULT, pb.CACHE_MODE_REFRESH), (9, 1))[0]
        began, sent_s = self._account.books.moment(), time.time()
        request = pb.CompleteRequest(prompt=prompt(text), control=pb.CacheControl(mode=mode), tags=[tag_of(text)])
        try:
            response = await self._stub.Complete(request)
        except grpc.aio.AioRpcError:
            self._history.maybe_stored(text)
            raise
        outcome = response.outcome
        status = self._account.told(outcome, began)
        if status in {"exact_hit", "semantic_hit"}:
            self._history.saw(text, response.text, status, sent_s=sent_s)
        else:
            if status == "miss":
                self._history.saw(text, None, status, sent_s=sent_s)
            if outcome.stored:
                self._history.stored(text, response.text, entry_id=outcome.entry_id, expires_s=time.time() + 80_000)
        return outcome

    async def _look_up(self, text: str) -> None:
        began, sent_s = self._account.books.moment(), time.time()
        response = await self._stub.Lookup(pb.LookupRequest(prompt=prompt(text)))
        status = self._account.told(response.outcome, began)
        self._history.saw(text, response.text or None, status, sent_s=sent_s)

    async def _judge(self, text: str) -> None:
        """Ask, and say of a hit that it was wrong, mostly of one by meaning: one by its own request is removed."""
        sent_s = time.time()
        response = await self._stub.Lookup(pb.LookupRequest(prompt=prompt(text)))
        self._account.acknowledged += 1
        status = pb.Status.Name(response.outcome.status).removeprefix("STATUS_").lower()
        self._history.saw(text, response.text or None, status, sent_s=sent_s)
        if not response.outcome.hit_id or (status == "exact_hit" and self._chance.random() < 0.7):
            return
        made_for = json.loads(response.text)[0]
        report = pb.ReportVerdictRequest(hit_id=response.outcome.hit_id, verdict=pb.VERDICT_WRONG)
        try:
            await self._stub.ReportVerdict(report)
        except grpc.aio.AioRpcError:
            if made_for == text:
                self._history.maybe_removed(text)
            raise
        self._account.acknowledged += 1
        self._history.judged_wrong(text, made_for)

    async def _invalidate(self, text: str) -> None:
        entry_id = self._history.of(text).entry_id
        by_id = entry_id and self._chance.random() < 0.5
        request = pb.InvalidateRequest(apply=True, **({"entry_ids": [entry_id]} if by_id else {"tags": [tag_of(text)]}))
        try:
            await self._stub.Invalidate(request)
        except grpc.aio.AioRpcError:
            self._history.maybe_removed(text)
            raise
        self._account.acknowledged += 1
        self._history.removed(text)


async def hold_against(stub: SemanticCacheServiceStub, account: Account) -> int:
    """Look every known request up, and hold each answer and the money against what was told; return how many."""
    texts = account.history.texts()
    evicted = account.history.evicted
    for start in range(0, len(texts), _BATCH):
        batch, sent_s = texts[start : start + _BATCH], time.time()
        requests = [pb.LookupRequest(prompt=prompt(text)) for text in batch]
        results = (await stub.LookupBatch(pb.LookupBatchRequest(requests=requests), timeout=60)).results
        for text, result in zip(batch, results, strict=True):
            if result.HasField("error"):
                account.books.problems.append(f"a lookup failed: {result.error}")
                continue
            outcome = result.response.outcome
            status = pb.Status.Name(outcome.status).removeprefix("STATUS_").lower()
            account.history.saw(text, result.response.text or None, status, sent_s=sent_s)
    try:
        savings = await stub.GetSavings(pb.GetSavingsRequest(), timeout=60)
        stats = await stub.GetStats(pb.GetStatsRequest(), timeout=60)
    except grpc.aio.AioRpcError as error:
        account.failed(error)
        return len(texts)
    if savings.total.spent_nanousd < account.spent_nanousd:
        account.books.problems.append(
            f"the ledger has {savings.total.spent_nanousd} nanodollars, and callers were told {account.spent_nanousd}"
        )
    is_full = account.full or account.disk_filled  # Either makes the server evict below its limit.
    if account.history.evicted > evicted and not is_full and stats.store_bytes < stats.store_limit_bytes * _FULL:
        account.books.problems.append(
            f"entries are missing, and the store holds only {stats.store_bytes} of {stats.store_limit_bytes} bytes"
        )
    return len(texts)
