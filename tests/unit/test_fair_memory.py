"""A memory that tenants share: its limits hold, and who holds most loses first."""

import pytest

from semcache.fair_memory import FairMemory


def memory(**limits: int) -> FairMemory[str, str]:
    return FairMemory(**{"max_items": 100, "max_bytes": 10_000, **limits})


@pytest.mark.parametrize("limits", [{"max_items": 10}, {"max_bytes": 1_000}], ids=["items", "bytes"])
def test_one_tenant_pushes_out_its_own_alone(limits):
    kept = memory(**limits)
    kept.put("small", "mine", "value", 100)
    for number in range(50):
        kept.put("large", f"theirs {number}", "value", 100)
    assert kept.get("mine") == "value"
    assert len(kept) == 10
    assert kept.size_bytes == 1_000
    assert [key for key, _ in kept.newest_of("large")] == [f"theirs {number}" for number in range(49, 40, -1)]


def test_of_a_tenants_values_the_least_recently_used_leaves_first():
    kept = memory(max_items=2)
    kept.put("acme", "a", "1", 10)
    kept.put("acme", "b", "2", 10)
    assert kept.use("a") == "1"
    kept.put("acme", "c", "3", 10)
    assert ("a" in kept, "b" in kept, "c" in kept) == (True, False, True)


def test_whoever_gave_a_value_hears_that_it_left_by_a_limit_and_not_by_its_own_will():
    left: list[tuple[str, str, str]] = []
    kept: FairMemory[str, str] = FairMemory(max_items=1, max_bytes=100, on_forgotten=lambda *told: left.append(told))
    kept.put("acme", "a", "1", 10)
    kept.put("acme", "b", "2", 10)
    assert kept.pop("b") == "2"
    assert left == [("acme", "a", "1")]


def test_what_is_larger_than_the_whole_memory_is_not_kept_and_others_stay():
    kept = memory()
    kept.put("small", "mine", "value", 100)
    kept.put("large", "theirs", "value", 20_000)
    assert ("mine" in kept, "theirs" in kept) == (True, False)
    assert kept.size_bytes == 100


def test_a_value_put_again_counts_once():
    kept = memory()
    kept.put("acme", "a", "1", 10)
    kept.put("acme", "a", "2", 30)
    assert (len(kept), kept.size_bytes, kept.get("a")) == (1, 30, "2")
    assert kept.oldest() == ("a", "2")


def test_an_emptied_memory_holds_nothing_of_anybody():
    kept = memory()
    kept.put("acme", "a", "1", 10)
    kept.pop("a")
    assert (len(kept), kept.size_bytes, kept.largest, kept.oldest()) == (0, 0, "", None)
    assert not kept.holds_of("acme")
    assert list(kept.newest_of("acme")) == []
