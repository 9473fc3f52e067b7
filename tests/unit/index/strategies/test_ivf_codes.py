"""How many lists an IVF index has, and how many vectors it is trained on."""

from semcache.index.strategies.ivf_codes import lists_for, samples_for


def test_lists_and_samples_grow_with_the_partition():
    assert lists_for(1) >= 1
    assert lists_for(100_000) > lists_for(20_000)
    assert samples_for(100) == 100
    assert samples_for(10**6) < 10**6
