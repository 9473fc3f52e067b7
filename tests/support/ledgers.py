"""Ledgers in real stores, for what reads them: a few days of traffic, and the month that docs/costs.md shows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from semcache.model import NANOUSD_PER_USD, NO_COST, ZERO_COST, Cost, LedgerRecord, Purpose, Status, Usage
from semcache.store import LmdbStore
from semcache.store.damage import Damage
from semcache.store.eviction import NO_ACCESS
from semcache.store.layout import Counters
from semcache.store.opening import open_environment
from semcache.store.transaction import WriteTransaction
from semcache.testing.clock import FakeClock
from tests.support.stored import SECRET, record, store_settings

HITS = (Status.EXACT_HIT, Status.SEMANTIC_HIT, Status.COALESCED)


def at(text: str) -> float:
    """Wall seconds of a moment in UTC, as in 2026-11-24 or 2026-11-24T10:30."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def line(at_s: float, status: Status, cost_nanousd: int, **fields: Any) -> LedgerRecord:
    """A log line whose request cost, or saved, `cost_nanousd`: a tenth of it input, a twentieth cached input."""
    cost = Cost(cost_nanousd // 10, cost_nanousd // 20, 0, priced=True, price_version="test")
    cost = Cost(cost.input_nanousd, cost.cached_input_nanousd, cost_nanousd - cost.total_nanousd, True, "test")
    spent, saved = (ZERO_COST, cost) if status in HITS else (cost, ZERO_COST)
    return record(f"{at_s:.0f}", at_s=at_s, status=status, spent=spent, saved=saved, **fields)


def write_ledger(path: Path, lines: Iterable[LedgerRecord]) -> None:
    """Make a store at `path` with these lines, and close it."""

    async def run() -> None:
        store = LmdbStore.open(store_settings(path), FakeClock(), secret_key_ids=(SECRET,), embedder_fingerprint="")
        for one in lines:
            store.ledger.record(one)
        await store.ledger.flush()
        await store.close()

    asyncio.run(run())


def trim_log(path: Path, count: int) -> None:
    """Delete the oldest lines of the log, as a sweep does; the rollup stays."""
    env, dbs = open_environment(store_settings(path), readonly=False)
    with env.begin(write=True) as txn:
        assert WriteTransaction(txn, dbs, Counters(), lambda _: NO_ACCESS, Damage()).trim_log(1e12, count) == count
    env.close()


def november() -> list[LedgerRecord]:
    """November 2026 as docs/costs.md shows it; the lines stand for many requests each.

    acme asks 200 times a day, 1,000 tokens a time; globex 1,000 times in all, $0.03 a time; hooli a million tokens in
    each tier; initech hardly at all.
    """
    lines = []
    for day in range(1, 31):
        start_s = at(f"2026-11-{day:02}T09:00")
        shares = ((Status.MISS, 100), (Status.COALESCED, 20), (Status.EXACT_HIT, 50), (Status.SEMANTIC_HIT, 30))
        for number, (status, requests) in enumerate(shares):
            usage = Usage(600 * requests, 0, 400 * requests)
            nanousd = 5_000_000 * requests
            fields = {"tenant": "acme", "model": "gpt-4o-2024-08-06", "requests": requests, "usage": usage}
            lines.append(line(start_s + 60 * number, status, nanousd, **fields))
    for day in range(1, 21):
        fields = {"tenant": "globex", "model": "claude-sonnet-4-5", "task_type": "code", "requests": 50}
        usage = Usage(50_000, 10_000, 25_000)
        lines.append(line(at(f"2026-11-{day:02}T14:00"), Status.MISS, 1_500_000_000, usage=usage, **fields))
    for number, status in enumerate((Status.MISS, Status.COALESCED, Status.EXACT_HIT)):
        fields = {"tenant": "hooli", "model": "gpt-4o-mini", "task_type": "search", "requests": 1_000}
        usage = Usage(700_000, 0, 300_000)
        lines.append(line(at("2026-11-15T10:00") + number, status, NANOUSD_PER_USD // 4, usage=usage, **fields))
    lines.append(line(at("2026-11-20T08:00"), Status.MISS, 4_321, tenant="initech", usage=Usage(9, 0, 12)))
    return lines


def mixed_days() -> list[LedgerRecord]:
    """Three days of every kind of line: all statuses, deposits, wrong hits, estimates, models without a price."""
    lines = []
    for day, tenant in (("2027-10-29", "acme"), ("2027-10-30", "beta"), ("2027-10-31", "acme")):
        for number, status in enumerate(Status):
            lines.append(line(at(day) + 7_000 * number + 0.25, status, 1_000_003 * (number + 1), tenant=tenant))
    start_s = at("2027-10-30T12:00")
    free = {"spent": NO_COST, "saved": ZERO_COST}
    lines += [
        record("unpriced-1", at_s=start_s, model="own-model", task_type="=cmd()", **free),
        record("unpriced-2", at_s=start_s + 1, model="[bold]own", usage=Usage(5, 0, 5, estimated=True), **free),
        record("deposit", at_s=start_s + 2, requests=0, purpose=Purpose.DEPOSIT, usage=Usage(100, 40, 9, False, 30)),
        record(
            "wrong",
            at_s=start_s + 3,
            requests=0,
            status=Status.SEMANTIC_HIT,
            purpose=Purpose.WRONG_HIT,
            usage=Usage(),
            spent=ZERO_COST,
            overhead_nanousd=500_000_000,
        ),
        record("hit", at_s=start_s + 4, status=Status.SEMANTIC_HIT, spent=ZERO_COST, saved=Cost(7, 0, 3, True, "p2"),
               similarity=0.9875, route="openai", degraded=True, overhead_nanousd=77, entry_id=255),
    ]  # fmt: skip
    return lines
