"""What leaves first, and how a sample finds it."""

import random

import pytest

from semcache.store import eviction
from semcache.store.eviction import NO_ACCESS, Access, Standing, by_worth, limit_bytes, sampled_ids, standing_of
from semcache.testing.clock import START_WALL_S
from tests.support.stored import entry


def standing(entry_id: int, **fields) -> Standing:
    defaults = {"cost_nanousd": 1000, "saved_nanousd": 0, "idle_s": 0.0, "size_bytes": 1000}
    return Standing(entry_id, **defaults | fields)


@pytest.mark.parametrize(
    ("policy", "first", "last"),
    [
        ("cost", {"cost_nanousd": 500}, {}),
        ("cost", {}, {"saved_nanousd": 1}),
        ("cost", {"idle_s": 60.0}, {}),
        ("cost", {"size_bytes": 1001}, {}),
        ("cost", {"cost_nanousd": 0}, {"cost_nanousd": 2}),
        ("cost", {"idle_s": 7200.0}, {"cost_nanousd": 400}),
        ("lru", {"idle_s": 2.0, "cost_nanousd": 10**9}, {"idle_s": 1.0, "cost_nanousd": 1}),
        ("lru", {}, {}),
        ("cost", {"expired": True, "cost_nanousd": 10**9}, {"cost_nanousd": 1}),
        ("lru", {"expired": True, "idle_s": 1.0}, {"idle_s": 2.0}),
    ],
)
def test_policies_order_entries(policy, first, last):
    leaves, stays = standing(1, **first), standing(2, **last)
    assert by_worth([stays, leaves], policy) == [leaves, stays]


def test_use_counts_from_the_last_time_or_from_birth():
    fresh = entry(entry_id=3)
    now_s = START_WALL_S + 100
    assert standing_of(fresh, NO_ACCESS, 10, now_s).idle_s == 100
    assert standing_of(fresh, Access(2, 50, START_WALL_S + 70), 10, now_s).idle_s == 30
    assert standing_of(fresh, NO_ACCESS, 10, START_WALL_S - 5).idle_s == 0
    assert Access(1, 5, 9.0).plus(Access(2, 6, 3.0)) == Access(3, 11, 9.0)


def test_a_sample_is_of_ids_that_are_there_and_repeatable():
    there = [entry_id for entry_id in range(1, 10_000) if entry_id % 3]

    def at_or_after(entry_id):
        return next((found for found in range(entry_id, 10_000) if found % 3), None)

    found = [sampled_ids(1, 9_999, 100, at_or_after, random.Random(7)) for _ in range(2)]
    assert found[0] == found[1]
    assert len(found[0]) == 100
    assert found[0] <= set(there)
    assert sampled_ids(1, 5, 100, lambda _: None, random.Random(7)) == set()


def test_limits_leave_room_in_the_map():
    assert limit_bytes(1000, 1 << 40) == 800
    assert limit_bytes(1 << 40, 1000) == 400
    assert eviction.sample_size(1) == eviction.SMALLEST_SAMPLE
    assert eviction.sample_size(1000) == 5000
