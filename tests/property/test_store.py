"""The store against a plain dictionary, reopened at random; each row is read back as it was written."""

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from semcache.model import (
    Answer,
    Cost,
    Entry,
    LedgerHour,
    LedgerRecord,
    Rejection,
    Selector,
    ServedHit,
    Status,
    Usage,
    Vector,
)
from semcache.observe.clock_watch import SETTLING_S
from semcache.store import LmdbStore, check, codec
from semcache.store.rollup import rolled_up
from semcache.testing.clock import START_WALL_S, FakeClock
from tests.support.stored import SECRET, all_entries, answer, digest, entry, get, record, served, store_settings, vector

# -- the codec

TEXT = st.text(st.characters(codec=None), max_size=40)  # surrogates included: JSON may bring them
COUNT = st.integers(0, 2**62)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
KEY = st.binary(min_size=32, max_size=32)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
USAGE = st.builds(Usage, COUNT, COUNT, COUNT, st.booleans(), COUNT)
COST = st.builds(Cost, COUNT, COUNT, COUNT, st.booleans(), TEXT)
SURROGATE_FREE = st.text(max_size=40)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    text = draw(TEXT)
    raw = text.encode("utf-8", "surrogatepass")
    body = draw(st.sampled_from([raw, b"", b'{"content":"' + raw + b'"}']) | st.binary(max_size=60))
    flags = {"degraded": draw(st.booleans()), "tool_calls": draw(st.booleans())}
    names = {name: draw(TEXT) for name in ("model", "finish_reason", "target_model", "route")}
    attempts, latency_s = draw(st.integers(0, 2**32 - 1)), draw(FLOAT)
    return Answer(body=body, usage=draw(USAGE), text=text, latency_s=latency_s, attempts=attempts, **flags, **names)


ENTRIES = st.builds(
    Entry,
    tenant=TEXT,
    namespace=TEXT,
    alias=TEXT,
    exact_key=KEY,
    partition=KEY,
    text=TEXT,
    answer=answers(),
    cost=COST,
    created_s=FLOAT,
    expires_s=FLOAT,
    tags=TEXTS,
    sources=TEXTS,
    task_type=TEXT,
    template_id=TEXT,
    knowledge_version=TEXT,
    features=st.dictionaries(TEXT, TEXTS, max_size=3),
    rejections=st.lists(st.builds(Rejection, KEY, st.binary(max_size=20)), max_size=3).map(tuple),
    entry_id=st.integers(1, 2**64 - 1),
    embedder=TEXT,
)
RECORDS = st.builds(
    LedgerRecord,
    request_id=TEXT,
    at_s=FLOAT,
    tenant=TEXT,
    namespace=TEXT,
    alias=TEXT,
    model=TEXT,
    task_type=TEXT,
    status=st.sampled_from(Status),
    usage=USAGE,
    spent=COST,
    saved=COST,
    entry_id=COUNT,
    similarity=st.none() | FLOAT,
    latency_s=FLOAT,
    requests=st.integers(0, 2**32 - 1),
    overhead_nanousd=COUNT,
    route=TEXT,
)
HITS = st.builds(
    ServedHit,
    hit_id=TEXT,
    tenant=TEXT,
    entry_id=COUNT,
    status=st.sampled_from(Status),
    exact_key=KEY,
    text=TEXT,
    similarity=FLOAT,
    at_s=FLOAT,
    vector=st.binary(max_size=40),
    verdict=TEXT,
    entry_key=st.just(b"") | KEY.filter(any),
)


@given(ENTRIES)
def test_an_entry_comes_back_as_it_was_written(value):
    assert codec.decode_entry(value.entry_id, codec.encode_entry(value)) == value


@given(RECORDS)
def test_a_log_line_comes_back_as_it_was_written(value):
    assert codec.decode_record(codec.encode_record(value)) == value


@given(HITS)
def test_a_served_hit_comes_back_as_it_was_written(value):
    assert codec.decode_served(codec.encode_served(value)) == value


@given(st.lists(RECORDS, max_size=8))
def test_rolled_up_hours_come_back_and_lose_no_nanodollar(values):
    # Within the rollup's range of 2^63: nine billion dollars an hour.
    values = [
        value._replace(
            usage=Usage(1, 0, 2),
            spent=Cost(value.spent.input_nanousd // 16),
            saved=Cost(7),
            overhead_nanousd=value.overhead_nanousd // 16,
            at_s=5.0,
        )
        for value in values
    ]
    hours = rolled_up(values)
    for hour in hours.values():
        assert codec.decode_hour(codec.encode_hour(hour)) == hour
    assert sum(hour.spent_nanousd for hour in hours.values()) == sum(value.spent.total_nanousd for value in values)
    assert sum(hour.saved_nanousd for hour in hours.values()) == 7 * len(values)
    assert sum(hour.requests for hour in hours.values()) == sum(value.requests for value in values)


# -- the store

NAMES = st.sampled_from("abcdefgh")
TENANTS = st.sampled_from(["acme", "other"])
TAGS = st.lists(st.sampled_from(["red", "blue"]), max_size=2).map(tuple)
MONEY = st.integers(0, 10**6)
EMBEDDERS = st.sampled_from(["", "one", "two", "three"])


class StoreAgainstDictionary(RuleBasedStateMachine):
    """Each operation runs on the store on disk and on dictionaries; after each, both have the same content."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.entries: dict[int, Entry] = {}
        self.vectors: dict[int, Vector] = {}
        self.embedder_of: dict[int, str] = {}
        self.records: list[LedgerRecord] = []
        self.last_id = 0
        self.hits = 0
        self.made_for: dict[int, tuple[str, bytes]] = {}
        self.rejected: dict[tuple[str, bytes], dict[bytes, tuple[float, Rejection]]] = {}

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @initialize(embedder=EMBEDDERS)
    def open(self, embedder: str) -> None:
        self.embedder = embedder
        self.settled_s = self.clock.monotonic() + SETTLING_S
        self.store = LmdbStore.open(
            store_settings(Path(self.folder.name)), self.clock, secret_key_ids=[SECRET], embedder_fingerprint=embedder
        )

    @rule(embedder=EMBEDDERS)
    def reopen(self, embedder: str) -> None:
        self.run(self.store.close())
        report = check(store_settings(Path(self.folder.name)))
        assert report.clean, report.problems
        self.open(embedder)

    @rule(name=NAMES, tenant=TENANTS, tags=TAGS, seed=st.none() | st.integers(0, 9), ttl_s=st.integers(1, 50))
    def put(self, name: str, tenant: str, tags: tuple[str, ...], seed: int | None, ttl_s: int) -> None:
        now_s = self.clock.wall()
        wanted = entry(
            tenant + name,
            tenant=tenant,
            tags=tags,
            partition=digest(tenant + name[0]),
            answer=answer(f"{self.last_id}"),
            created_s=now_s,
            expires_s=now_s + ttl_s,
        )
        added = None if seed is None else vector(seed)
        line = record(f"r{len(self.records)}", at_s=now_s, tenant=tenant)
        stored = self.run(self.store.entries.put(wanted, added, line))
        assert stored.entry_id > self.last_id
        self.last_id = stored.entry_id
        for old in [old for old in self.entries.values() if old.exact_key == wanted.exact_key]:
            kept = {one.exact_key for one in self.kept(tenant, wanted.exact_key)}
            wanted = replace(wanted, rejections=tuple(one for one in old.rejections if one.exact_key not in kept))
            self.forget(old.entry_id)
        self.made_for[stored.entry_id] = tenant, wanted.exact_key
        wanted = replace(wanted, rejections=(*wanted.rejections, *self.kept(tenant, wanted.exact_key)))
        self.entries[stored.entry_id] = replace(wanted, entry_id=stored.entry_id)
        assert stored == self.entries[stored.entry_id]
        if added is not None:
            self.vectors[stored.entry_id] = added
            self.embedder_of[stored.entry_id] = self.embedder
        self.records.append(line)

    def forget(self, entry_id: int) -> None:
        del self.entries[entry_id]
        self.vectors.pop(entry_id, None)
        self.embedder_of.pop(entry_id, None)

    @rule(chance=st.randoms(use_true_random=False), limit=st.integers(1, 4), drop=st.booleans())
    def reembed(self, *, chance: Any, limit: int, drop: bool) -> None:
        places = sorted({self.entries[entry_id].partition for entry_id in self.vectors})
        if not places or not self.embedder:
            return
        partition = chance.choice(places)
        target = digest(f"{partition.hex()} {self.embedder}")
        ids = sorted(entry_id for entry_id in self.vectors if self.entries[entry_id].partition == partition)[:limit]
        assert self.run(self.store.vectors.texts(partition, limit)) == {n: self.entries[n].text for n in ids}
        vectors: dict[int, Vector | None] = {entry_id: vector(entry_id) for entry_id in ids}
        if drop:
            vectors[ids[0]] = None
        assert self.run(self.store.vectors.reembed(partition, target, vectors)) == len(ids) - drop
        for entry_id, made in vectors.items():
            del self.vectors[entry_id], self.embedder_of[entry_id]
            if made is not None:
                self.entries[entry_id] = replace(self.entries[entry_id], partition=target, embedder=self.embedder)
                self.vectors[entry_id] = made
                self.embedder_of[entry_id] = self.embedder

    @rule(seconds=st.integers(0, 30) | st.just(int(SETTLING_S)))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def sweep(self) -> None:
        ended = [one.entry_id for one in self.entries.values() if one.expires_s <= self.clock.wall()]
        if self.clock.monotonic() < self.settled_s:
            ended = []
        assert self.run(self.store.sweep()) == len(ended)
        for entry_id in ended:
            self.forget(entry_id)

    @rule(tenant=TENANTS, tags=TAGS, apply=st.booleans())
    def invalidate(self, *, tenant: str, tags: tuple[str, ...], apply: bool) -> None:
        selector = Selector(tenant, tags=tags, everything=not tags)
        named = [one for one in self.entries.values() if selector.matches(one)]
        live = sum(one.expires_s > self.clock.wall() for one in named)
        assert self.run(self.store.entries.invalidate(selector, apply=apply)) == live
        for one in named if apply else ():
            self.forget(one.entry_id)

    def kept(self, tenant: str, exact_key: bytes) -> list[Rejection]:
        rows = self.rejected.get((tenant, exact_key), {})
        return [rejection for _, (_, rejection) in sorted(rows.items(), key=lambda item: (item[1][0], item[0]))]

    def keep(self, tenant: str, exact_key: bytes, rejection: Rejection) -> None:
        self.rejected.setdefault((tenant, exact_key), {})[rejection.exact_key] = self.clock.wall(), rejection
        for old in [old for old in self.entries.values() if old.exact_key == exact_key]:
            others = (one for one in old.rejections if one.exact_key != rejection.exact_key)
            self.entries[old.entry_id] = replace(old, rejections=(*others, rejection))

    @rule(chance=st.randoms(use_true_random=False), name=NAMES, exact=st.booleans())
    def reject(self, *, chance: Any, name: str, exact: bool) -> None:
        entry_id = chance.randint(1, self.last_id + 1)
        tenant, entry_key = self.made_for.get(entry_id, ("acme", b""))
        self.hits += 1
        status = Status.EXACT_HIT if exact else Status.SEMANTIC_HIT
        rejection = Rejection(digest(tenant + name), b"v")
        hit = served(
            f"h{self.hits}",
            entry_id,
            tenant=tenant,
            status=status,
            exact_key=rejection.exact_key,
            at_s=self.clock.wall(),
            entry_key=entry_key,
        )
        line = record(f"r{len(self.records)}", at_s=self.clock.wall(), status=status)
        self.store.ledger.record(line, hit)
        self.records.append(line)
        self.run(self.store.verdicts.reject(hit.hit_id, rejection, "wrong"))
        assert self.run(self.store.verdicts.served(hit.hit_id)) == hit._replace(verdict="wrong")
        if exact or rejection.exact_key == entry_key:
            if entry_id in self.entries:
                self.forget(entry_id)
        elif entry_key:
            now = [one.entry_id for one in self.entries.values() if one.exact_key == entry_key]
            raw = self.vectors[now[0]].astype(np.float16).tobytes() if now and now[0] in self.vectors else b""
            self.keep(tenant, entry_key, rejection)
            self.keep(tenant, rejection.exact_key, Rejection(entry_key, raw))

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "store"):
            return
        now_s = self.clock.wall()
        live = {entry_id: one for entry_id, one in self.entries.items() if one.expires_s > now_s}
        for entry_id in range(1, self.last_id + 2):
            assert self.run(get(self.store, entry_id)) == live.get(entry_id)
        for one in self.entries.values():
            assert self.run(self.store.entries.find_exact(one.exact_key)) == live.get(one.entry_id)
        for tenant in ("acme", "other"):
            assert self.run(all_entries(self.store.entries, tenant)) == [
                one for _, one in sorted(live.items()) if one.tenant == tenant
            ]
        for partition in {one.partition for one in self.entries.values()}:
            wanted = sorted(i for i in self.vectors if self.entries[i].partition == partition)
            ids, vectors = self.store.vectors.load(partition)
            assert ids.tolist() == wanted
            if wanted:
                np.testing.assert_array_equal(vectors, np.stack([self.vectors[i] for i in wanted]))
        for (tenant, exact_key), rows in self.rejected.items():
            kept = self.run(self.store.verdicts.rejections(tenant, exact_key))
            assert list(kept) == self.kept(tenant, exact_key)
            assert len(kept) == len(rows)
        assert self.store.stats().entries == len(self.entries)
        others = [name for name in self.embedder_of.values() if name not in {"", self.embedder}]
        assert self.store.stats().inert == (len(others) if self.embedder else 0)
        assert set(self.store.vectors.other_embedders()) == (set(others) if self.embedder else set())

    @rule()
    def ledger_agrees(self) -> None:
        self.run(self.store.ledger.flush())
        hours: list[LedgerHour] = list(self.store.ledger.hours(None, 0, 1e11))
        assert {(hour.hour_s, hour.tenant, hour.model, hour.task_type, hour.status.value): hour for hour in hours} == (
            rolled_up(self.records)
        )
        lines = {line.request_id: line for line in self.store.ledger.records(None, START_WALL_S, 1e11)}
        assert lines == {line.request_id: line for line in self.records}

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()


StoreAgainstDictionary.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    deadline=None,
)
TestStoreAgainstDictionary = StoreAgainstDictionary.TestCase
