"""What every `Verdicts` promises, over the one in memory and the one on disk."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from semcache.errors import NotFoundError
from semcache.model import Changes, Entry, Rejection, Selector, Status
from semcache.ports import Store
from tests.support.stored import answer, digest, entry, get, record, served, vector


async def test_a_hit_that_was_never_served_is_not_found(store):
    for hit_id in ("nothing", "", "x" * 1000):
        assert await store.verdicts.served(hit_id) is None


async def test_a_wrong_semantic_hit_is_remembered_at_the_entry(store, changes):
    stored = await store.entries.put(entry(), vector())
    hit = served(entry_id=stored.entry_id)
    store.ledger.record(record(status=Status.SEMANTIC_HIT), hit)
    assert await store.verdicts.served("h1") == hit
    rejection = Rejection(hit.exact_key, hit.vector)
    await store.verdicts.reject("h1", rejection, "wrong")
    assert await get(store, stored.entry_id) == replace(stored, rejections=(rejection,))
    assert await store.verdicts.served("h1") == hit._replace(verdict="wrong")
    assert changes[-1] == Changes(rewritten=(stored.entry_id,))


OTHER = "another question"


async def rejected(store: Store, **fields: Any) -> Entry:
    """Store an entry, serve it to another request, and report that as wrong; return the entry as it was stored."""
    stored = await store.entries.put(entry("a"), vector())
    hit = served(entry_id=stored.entry_id, entry_key=stored.exact_key, **fields)
    store.ledger.record(record(status=Status.SEMANTIC_HIT), hit)
    await store.verdicts.reject("h1", Rejection(hit.exact_key, hit.vector), "wrong")
    return stored


async def by_its_end(store, clock):
    clock.advance(3600)
    await store.sweep()


async def by_id(store, clock):
    await store.entries.invalidate(Selector("acme", entry_ids=(1,)), apply=True)


async def by_all(store, clock):
    await store.entries.invalidate(Selector("acme", everything=True), apply=True)


async def by_a_fresh_answer(store, clock):
    await store.entries.put(entry("a", answer=answer("newer")), vector())


async def by_a_wrong_exact_hit(store, clock):
    store.ledger.record(record("r2"), served("h2", 1, status=Status.EXACT_HIT, exact_key=digest("a")))
    await store.verdicts.reject("h2", Rejection(digest("a"), b""), "wrong")


ENDS = {
    "its end": by_its_end,
    "its id": by_id,
    "all": by_all,
    "a fresh answer": by_a_fresh_answer,
    "a wrong exact hit": by_a_wrong_exact_hit,
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_verdict_outlives_the_entry_in_both_directions(store, clock, reopened, end):
    await rejected(store)
    await ENDS[end](store, clock)
    store = await reopened(store, "")
    asked = Rejection(digest(OTHER), served().vector)
    made_for = Rejection(digest("a"), vector().astype(np.float16).tobytes())
    assert list(await store.verdicts.rejections("acme", digest("a"))) == [asked]
    assert list(await store.verdicts.rejections("acme", digest(OTHER))) == [made_for]
    assert (await store.entries.put(entry("a"), vector())).rejections == (asked,)
    assert (await store.entries.put(entry(OTHER), vector(1))).rejections == (made_for,)


async def test_a_verdict_outlives_an_eviction(make):
    store = await make(max_entries=1)
    await rejected(store)
    await store.entries.put(entry("b"), None)
    assert await store.entries.find_exact(digest("a")) is None
    assert [one.exact_key for one in await store.verdicts.rejections("acme", digest("a"))] == [digest(OTHER)]


async def test_a_verdict_reaches_the_entry_of_the_request_that_was_served_too(store, changes):
    other = await store.entries.put(entry(OTHER), vector(1))
    stored = await rejected(store)
    assert changes[-1] == Changes(rewritten=(stored.entry_id, other.entry_id))
    assert [one.exact_key for one in (await get(store, other.entry_id)).rejections] == [stored.exact_key]


async def test_a_verdict_that_comes_when_the_entry_has_gone_is_about_the_two_requests(store):
    stored = await store.entries.put(entry("a"), vector())
    store.ledger.record(record(), served(entry_id=stored.entry_id, entry_key=stored.exact_key))
    await by_all(store, None)
    await store.verdicts.reject("h1", Rejection(digest(OTHER), b"\x01\x02"), "wrong")
    assert (await store.entries.put(entry("a"), vector())).rejections == (Rejection(digest(OTHER), b"\x01\x02"),)
    assert (await store.entries.put(entry(OTHER), vector())).rejections == (Rejection(digest("a"), b""),)


async def test_a_verdict_on_a_replaced_answer_reaches_the_new_one(store):
    stored = await store.entries.put(entry("a"), vector())
    store.ledger.record(record(), served(entry_id=stored.entry_id, entry_key=stored.exact_key))
    newer = await store.entries.put(entry("a", answer=answer("newer")), vector())
    await store.verdicts.reject("h1", Rejection(digest(OTHER), b""), "wrong")
    assert (await get(store, newer.entry_id)).rejections == (Rejection(digest(OTHER), b""),)


async def test_a_verdict_lives_as_long_as_hits_are_remembered_and_then_it_is_gone(store, clock):
    await rejected(store)
    clock.advance(7 * 86_400 - 1)
    await store.sweep()
    assert len(await store.verdicts.rejections("acme", digest("a"))) == 1
    clock.advance(2)
    await store.sweep()
    for key in (digest("a"), digest(OTHER)):
        assert not await store.verdicts.rejections("acme", key)
    assert (await store.entries.put(entry("a"), vector())).rejections == ()


async def test_a_verdict_that_is_given_again_lives_anew(store, clock):
    await rejected(store)
    clock.advance(6 * 86_400)
    store.ledger.record(record("r2"), served("h2", 0, entry_key=digest("a"), at_s=clock.wall()))
    await store.verdicts.reject("h2", Rejection(digest(OTHER), served().vector), "wrong")
    clock.advance(2 * 86_400)
    await store.sweep()
    assert len(await store.verdicts.rejections("acme", digest("a"))) == 1


async def test_a_verdict_is_its_tenants_alone(store):
    await rejected(store)
    await by_all(store, None)
    assert not await store.verdicts.rejections("other", digest("a"))
    assert (await store.entries.put(entry("a", tenant="other"), None)).rejections == ()


async def test_the_latest_verdicts_of_a_request_are_kept(store, clock):
    for i in range(70):
        clock.advance(1)
        store.ledger.record(record(f"r{i}"), served(f"h{i}", 0, entry_key=digest("a"), exact_key=digest(str(i))))
        await store.verdicts.reject(f"h{i}", Rejection(digest(str(i)), b""), "wrong")
    kept = await store.verdicts.rejections("acme", digest("a"))
    assert [rejection.exact_key for rejection in kept] == [digest(str(i)) for i in range(6, 70)]


async def test_rejections_are_bounded_to_the_latest(store):
    stored = await store.entries.put(entry(), None)
    for i in range(70):
        store.ledger.record(record(f"r{i}"), served(f"h{i}", stored.entry_id))
        await store.verdicts.reject(f"h{i}", Rejection(digest(str(i)), b""), "wrong")
    kept = (await get(store, stored.entry_id)).rejections
    assert [rejection.exact_key for rejection in kept] == [digest(str(i)) for i in range(6, 70)]


@pytest.mark.parametrize("status", [Status.EXACT_HIT, Status.COALESCED])
async def test_an_entry_that_is_wrong_for_its_own_request_is_deleted(store, status):
    stored = await store.entries.put(entry(), vector())
    store.ledger.record(
        record(status=status), served(entry_id=stored.entry_id, status=status, exact_key=stored.exact_key)
    )
    await store.verdicts.reject("h1", Rejection(stored.exact_key, b""), "wrong")
    assert await get(store, stored.entry_id) is None
    assert await store.entries.find_exact(stored.exact_key) is None
    assert not await store.vectors.has(stored.partition)
    assert (await store.verdicts.served("h1")).verdict == "wrong"


async def test_a_verdict_on_a_hit_whose_entry_has_gone_is_kept(store):
    store.ledger.record(record(), served(entry_id=99))
    await store.verdicts.reject("h1", Rejection(digest("r"), b""), "wrong")
    assert (await store.verdicts.served("h1")).verdict == "wrong"


async def test_a_right_hit_is_confirmed(store):
    store.ledger.record(record(), served())
    await store.verdicts.confirm("h1", "right")
    assert (await store.verdicts.served("h1")).verdict == "right"


async def test_a_hit_is_rejected_once_whatever_is_said_in_between(store):
    store.ledger.record(record(), served())
    verdicts = [await store.verdicts.reject("h1", Rejection(digest("r"), b""), "wrong", record("w1", requests=0))]
    await store.verdicts.confirm("h1", "right")
    verdicts.append(await store.verdicts.reject("h1", Rejection(digest("r"), b""), "wrong", record("w2", requests=0)))
    assert verdicts == [True, False]
    assert (await store.verdicts.served("h1")).verdict == "wrong"


async def test_a_hit_that_nobody_remembers_gets_no_verdict(store, clock):
    store.ledger.record(record(), served())
    await store.ledger.flush()
    clock.advance(7 * 86_400)
    assert await store.verdicts.served("h1") is None
    for hit_id in ("h1", "h2", "", "x" * 600):
        with pytest.raises(NotFoundError):
            await store.verdicts.confirm(hit_id, "right")
        with pytest.raises(NotFoundError):
            await store.verdicts.reject(hit_id, Rejection(digest("r"), b""), "wrong")
    await store.sweep()
    clock.jump_wall(-7 * 86_400)
    assert await store.verdicts.served("h1") is None
