"""What every `Verdicts` promises, over the one in memory and the one on disk."""

from dataclasses import replace

import pytest

from semcache.errors import NotFoundError
from semcache.model import Changes, Rejection, Status
from tests.support.stored import digest, entry, get, record, served, vector


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
