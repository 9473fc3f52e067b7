"""Which texts share a forward pass."""

from dataclasses import replace

import pytest

from semcache.embedding.batching import BatchRule, is_full, next_batch, share

CPU = BatchRule(max_texts=32, max_tokens=1024, pass_tokens=12)
FEW = BatchRule(max_texts=4, max_tokens=1000, pass_tokens=12)


def test_one_text_is_a_batch():
    assert next_batch([400], CPU) == [0]


def test_texts_of_one_length_share_a_batch_in_their_order():
    assert next_batch([10] * 5, CPU) == [0, 1, 2, 3, 4]


def test_the_limit_on_texts_holds():
    assert next_batch([10] * 40, CPU) == list(range(32))


def test_the_limit_on_padded_tokens_holds():
    assert next_batch([250] * 10, CPU) == [0, 1, 2, 3]


def test_a_single_text_may_exceed_the_limit_on_tokens():
    assert next_batch([5000, 10], CPU) == [0]


def test_a_short_text_is_not_padded_to_a_long_one():
    assert next_batch([256, 10, 250, 11, 12], CPU) == [0, 2]
    assert next_batch([10, 256, 11, 250, 12], CPU) == [0, 2, 4]


def test_the_oldest_is_always_among_them():
    lengths = [200, *[10] * 100]
    assert 0 in next_batch(lengths, CPU)


def test_padding_costs_less_than_the_passes_it_saves():
    lengths = [10, 13, 12, 11, 14, 30, 90]
    batch = next_batch(lengths, CPU)
    real = sum(lengths[i] for i in batch)
    assert max(lengths[i] for i in batch) * len(batch) <= real + real // 8 + CPU.pass_tokens
    assert set(batch) == {0, 1, 2, 3, 4}


def test_a_crowd_takes_those_along_who_are_a_little_longer():
    lengths = [15] * 29 + [19] * 3
    rule = BatchRule(max_texts=32, max_tokens=1024, pass_tokens=24)
    assert len(next_batch(lengths, rule)) == 29
    assert len(next_batch(lengths, replace(rule, crowd_padding=3))) == 32
    assert len(next_batch([15] * 9 + [24] * 3, replace(rule, crowd_padding=3))) == 9


def test_a_gpu_pads_gladly():
    gpu = BatchRule(max_texts=256, max_tokens=65_536, pass_tokens=4096)
    assert sorted(next_batch([10, 60, 30, 12, 14], gpu)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("lengths", "full"),
    [
        ([14], False),
        ([14, 14, 14], False),
        ([1, 1, 1, 1], True),  # no more fit into a batch
        ([192], True),  # the pass's own cost is a sixteenth of it
        ([191], False),
        ([100, 92], True),
    ],
)
def test_what_a_pass_is_worth_starting_with(lengths, full):
    assert is_full(len(lengths), sum(lengths), FEW) is full


def test_a_device_that_takes_few_tokens_waits_for_no_more():
    assert is_full(1, 60, BatchRule(max_texts=4, max_tokens=50, pass_tokens=12))


@pytest.mark.parametrize(
    ("lengths", "free", "texts"),
    [
        ([14], 2, 1),
        ([14] * 6, 2, 6),  # 84 tokens: not worth two passes
        ([14] * 7, 2, 4),  # 98 tokens are
        ([100, 100], 2, 1),
        ([14] * 32, 2, 16),
        ([14] * 33, 2, 17),
        ([14] * 32, 1, 32),
        ([14] * 90, 1, 32),
        ([14] * 32, 4, 8),
    ],
)
def test_free_streams_take_even_shares_that_are_worth_a_pass(lengths, free, texts):
    assert share(len(lengths), sum(lengths), CPU, free) == texts
