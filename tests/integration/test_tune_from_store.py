"""Uses a running server's judged hits as labels: wrong hits are traps, and hits without a verdict are counted."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lmdb
import pytest

from semcache.client import Client
from semcache.errors import StoreUnusableError
from semcache.evaluation.tune.comparing import Relation
from semcache.evaluation.tune.served import pairs_of_hits
from semcache.evaluation.tune.units import units_of
from semcache.settings import StoreSettings
from semcache.store import read_judged
from semcache.store.layout import LIB_VERSION
from semcache.testing.serving import serving

PROMPT = "How do I reset my password?"


def run_tune(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "semcache", "tune", *arguments], capture_output=True, text=True, timeout=60
    )


def tune(*arguments: str) -> dict[str, Any]:
    ran = run_tune(*arguments)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


async def test_hits_with_verdicts_are_labels(tmp_path: Path) -> None:
    async with serving({"decision": {"threshold": 0.5, "guards": ()}}, path=tmp_path) as served:
        async with Client(served.address) as client:
            asking = {"model": "gpt-4o-mini", "namespace": "bank", "task_type": "support"}
            await client.complete(prompt=PROMPT, **asking)
            right = await client.complete(prompt="How do I reset my password", **asking)
            wrong = await client.complete(prompt="How do I change my password?", **asking)
            exact = await client.complete(prompt=PROMPT, **asking)
            unjudged = await client.complete(prompt="how do I reset my password?", **asking)
            assert all(item.hit for item in (right, wrong, exact, unjudged))
            await client.report_verdict(right.hit_id, right=True)
            await client.report_verdict(wrong.hit_id, right=False)
            await client.report_verdict(exact.hit_id, right=True)
        # In another process, because a process may open an LMDB store only once.
        document = await asyncio.to_thread(tune, "--store", str(tmp_path), "--json")
    assert (document["pairs"], document["hits"], document["traps"]) == (3, 2, 1)
    assert document["left_out"] == {"without_verdict": 1, "without_entry": 0, "damaged": 0}
    assert [(part["field"], part["name"]) for part in document["parts"]] == [
        ("namespace", "bank"),
        ("task_type", "support"),
    ]
    assert document["estimated_costs"] == 0
    judged = read_judged(StoreSettings(path=tmp_path))
    assert (judged.without_verdict, judged.without_entry, judged.damaged) == (1, 0, 0)
    compared = {item.pair.pair_id: item for item in pairs_of_hits(judged.hits)}
    assert set(compared) == {right.hit_id, wrong.hit_id, exact.hit_id}
    assert compared[right.hit_id].pair.same
    assert not compared[wrong.hit_id].pair.same
    assert compared[wrong.hit_id].similarity == pytest.approx(wrong.similarity)
    assert compared[wrong.hit_id].asked == "How do I change my password?"
    assert compared[exact.hit_id].relation is Relation.EXACT
    for item in compared.values():
        assert (item.stored, item.pair.namespace, item.pair.task_type) == (PROMPT, "bank", "support")
        assert item.cost_nanousd is not None
        assert item.cost_nanousd > 0
    for judged_hit in judged.hits:
        day = datetime.fromtimestamp(judged_hit.hit.at_s, UTC).date().isoformat()
        assert compared[judged_hit.hit.hit_id].pair.sampled_with == day


async def test_one_entry_that_is_hit_on_six_days_gives_six_units(tmp_path: Path) -> None:
    async with serving(path=tmp_path) as served, Client(served.address) as client:
        await client.complete(model="gpt-4o-mini", prompt=PROMPT)
        hit = await client.complete(model="gpt-4o-mini", prompt=PROMPT)
        await client.report_verdict(hit.hit_id, right=True)
    (judged,) = read_judged(StoreSettings(path=tmp_path)).hits
    on_days = [replace(judged, hit=judged.hit._replace(at_s=judged.hit.at_s + day * 86_400)) for day in range(6)]
    units = units_of([item.pair for item in pairs_of_hits(on_days)])
    assert (units.count, units.joined) == (6, 0)


async def test_a_hit_whose_entry_is_gone_is_counted(tmp_path: Path) -> None:
    async with serving(path=tmp_path) as served, Client(served.address) as client:
        await client.complete(model="gpt-4o-mini", prompt=PROMPT)
        hit = await client.complete(model="gpt-4o-mini", prompt=PROMPT)
        await client.report_verdict(hit.hit_id, right=True)
        await client.invalidate(everything=True, apply=True)
    judged = read_judged(StoreSettings(path=tmp_path))
    assert (judged.hits, judged.without_entry) == ((), 1)


async def test_a_damaged_row_is_counted(tmp_path: Path) -> None:
    async with serving(path=tmp_path):
        pass
    env = lmdb.Environment(str(tmp_path), max_dbs=20, lib_version=LIB_VERSION)
    with env.begin(write=True) as txn:
        txn.put(b"a hit", b"no row", db=env.open_db(b"served", txn))
    env.close()
    judged = read_judged(StoreSettings(path=tmp_path))
    assert (judged.hits, judged.damaged) == ((), 1)
    ran = await asyncio.to_thread(run_tune, "--store", str(tmp_path))
    assert ran.returncode == 1
    assert "No hit in the store" in ran.stderr


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusableError, match="there is no store at"):
        read_judged(StoreSettings(path=tmp_path))
    (tmp_path / "data.mdb").write_bytes(b"not a store" * 1000)
    with pytest.raises(StoreUnusableError) as caught:
        read_judged(StoreSettings(path=tmp_path))
    assert str(tmp_path) in caught.value.message
    assert caught.value.hint
