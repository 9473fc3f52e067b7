"""What free lanes do at a given moment, and which texts share a forward pass."""

from dataclasses import replace

import pytest

from semcache.embedding.scheduling import (
    CPU_BF16_TEXT_PADDING,
    BatchRule,
    Idle,
    Running,
    Start,
    Until,
    Waiting,
    next_batch,
    plan,
)

CPU = BatchRule(max_texts=32, max_tokens=1024, pass_tokens=12)
FEW = BatchRule(max_texts=4, max_tokens=1000, pass_tokens=12)
SLOW_S, FAST_S = 0.001, 0.0001
"""Seconds a token: on the slow device a text of 14 tokens is worth two lanes, on the fast one it is short."""


def running(*ends_s: float, lanes: int = 2, token_s: float = SLOW_S) -> Running:
    return Running(lanes, ends_s, token_s)


def test_where_nothing_waits_or_no_lane_is_free_there_is_nothing_to_do():
    assert plan(100.0, Waiting([], 99.0), running(), FEW) == Idle()
    assert plan(100.0, Waiting([14], 99.0), running(100.1, 100.2), FEW) == Idle()
    assert plan(100.0, Waiting([14], 99.0), running(100.1, lanes=1), FEW) == Idle()


@pytest.mark.parametrize("token_s", [SLOW_S, FAST_S])
def test_a_text_that_finds_no_pass_under_way_never_waits(token_s):
    assert plan(100.0, Waiting([14], 100.0), running(token_s=token_s), FEW) == Start(((0,),))


def test_few_tokens_wait_for_more_while_another_lane_computes():
    waiting = Waiting([14, 14], 100.0)
    assert plan(100.0, waiting, running(100.2), FEW) == Until(pytest.approx(100.048))  # 4 × 12 tokens
    assert plan(100.047, waiting, running(100.2), FEW) == Until(pytest.approx(100.048))
    assert plan(100.049, waiting, running(100.2), FEW) == Start(((0, 1),))


@pytest.mark.parametrize("token_s", [SLOW_S, FAST_S])
def test_texts_wait_no_more_when_the_other_lanes_are_done(token_s):
    assert plan(100.0, Waiting([14, 14], 100.0), running(token_s=token_s), FEW).batches[0][0] == 0


@pytest.mark.parametrize("token_s", [SLOW_S, FAST_S])
def test_closing_waits_for_no_more_texts(token_s):
    waiting = Waiting([14], 100.0, closing=True)
    assert plan(100.0, waiting, running(100.02, token_s=token_s), FEW) == Start(((0,),))


@pytest.mark.parametrize(
    ("lengths", "enough"),
    [
        ([14], False),
        ([14, 14, 14], False),
        ([2, 2, 2, 2], True),  # no more texts fit into a batch
        ([999], False),
        ([500, 500], True),  # no more tokens
    ],
)
def test_a_pass_that_can_not_have_more_starts_while_others_compute(lengths, enough):
    step = plan(100.0, Waiting(lengths, 100.0), running(100.2), FEW)
    assert isinstance(step, Start if enough else Until)


def test_a_device_that_takes_few_tokens_waits_for_no_more():
    rule = BatchRule(max_texts=4, max_tokens=50, pass_tokens=12)
    assert plan(100.0, Waiting([60], 100.0), running(100.2), rule) == Start(((0,),))


def test_short_texts_are_left_to_the_lane_that_computes_even_a_full_batch():
    waiting = Waiting([14] * 5, 100.0)
    assert plan(100.0, waiting, running(100.02, token_s=FAST_S), FEW) == Until(pytest.approx(100.05))
    assert plan(100.049, waiting, running(100.07, token_s=FAST_S), FEW) == Until(pytest.approx(100.05))
    assert plan(100.051, waiting, running(100.07, token_s=FAST_S), FEW) == Start(((0, 1, 2, 3),))


@pytest.mark.parametrize("end_s", [100.06, 99.94], ids=["is long at it", "is overdue"])
def test_short_texts_are_not_left_to_a_lane_that(end_s):
    waiting = Waiting([14] * 4, 100.0)
    assert plan(100.0, waiting, running(end_s, token_s=FAST_S), FEW) == Start(((0, 1, 2, 3),))
    one = Waiting([14], 100.0)
    assert plan(100.0, one, running(end_s, token_s=FAST_S), FEW) == Until(pytest.approx(100.0048))


def test_short_texts_are_not_divided():
    assert plan(100.0, Waiting([14] * 20, 100.0), running(token_s=FAST_S), CPU) == Start((tuple(range(20)),))


def test_a_long_text_among_short_ones_is_worth_another_lane():
    waiting = Waiting([14, 200], 100.0)
    assert plan(100.0, waiting, running(100.02, token_s=FAST_S), CPU) == Until(pytest.approx(100.0048))
    assert plan(100.005, waiting, running(100.02, token_s=FAST_S), CPU) == Start(((0,),))


@pytest.mark.parametrize(
    ("lengths", "lanes", "texts"),
    [
        ([14], 2, [1]),
        ([5, 6], 2, [2]),  # 11 tokens: not worth two passes
        ([14] * 7, 2, [4, 3]),
        ([100, 100], 2, [1, 1]),
        ([14] * 32, 2, [16, 16]),
        ([14] * 33, 2, [17, 16]),
        ([14] * 32, 1, [32]),
        ([14] * 90, 1, [32]),
        ([14] * 90, 2, [32, 32]),
        ([14] * 32, 4, [8, 8, 8, 8]),
        ([14, 14, 60], 2, [2, 1]),  # the other lane takes the length that doesn't fit
    ],
)
def test_free_lanes_take_even_shares_that_are_worth_a_pass(lengths, lanes, texts):
    step = plan(100.0, Waiting(lengths, 100.0), running(lanes=lanes), CPU)
    assert isinstance(step, Start)
    assert [len(batch) for batch in step.batches] == texts


def test_a_busy_lane_takes_no_share():
    assert plan(100.1, Waiting([100] * 4, 100.0), running(100.2), CPU) == Start(((0, 1, 2, 3),))


def test_one_text_is_a_batch():
    assert next_batch([400], CPU, 32) == [0]


def test_texts_of_one_length_share_a_batch_in_their_order():
    assert next_batch([10] * 5, CPU, 32) == [0, 1, 2, 3, 4]


def test_the_limit_on_texts_holds():
    assert next_batch([10] * 40, CPU, 32) == list(range(32))


def test_of_one_length_the_older_texts_come_first():
    assert next_batch([12, 10, 10, 10, 14, 14], CPU, 3) == [0, 1, 2]


def test_the_limit_on_padded_tokens_holds():
    assert next_batch([250] * 10, CPU, 32) == [0, 1, 2, 3]


def test_a_single_text_may_exceed_the_limit_on_tokens():
    assert next_batch([5000, 10], CPU, 32) == [0]


def test_a_short_text_is_not_padded_to_a_long_one():
    assert next_batch([256, 10, 250, 11, 12], CPU, 32) == [0, 2]
    assert next_batch([10, 256, 11, 250, 12], CPU, 32) == [0, 2, 4]


def test_the_oldest_is_always_among_them():
    lengths = [200, *[10] * 100]
    assert 0 in next_batch(lengths, CPU, 32)


def test_padding_costs_less_than_the_passes_it_saves():
    lengths = [10, 13, 12, 11, 14, 30, 90]
    batch = next_batch(lengths, CPU, 32)
    real = sum(lengths[i] for i in batch)
    assert max(lengths[i] for i in batch) * len(batch) <= real + real // 8 + CPU.pass_tokens
    assert set(batch) == {0, 1, 2, 3, 4}


def test_a_large_batch_takes_texts_along_that_are_a_little_longer_where_a_pass_is_dear():
    lengths = [15] * 29 + [19] * 3
    generous = replace(CPU, text_padding=CPU_BF16_TEXT_PADDING)
    assert len(next_batch(lengths, CPU, 32)) == 29
    assert len(next_batch(lengths, generous, 32)) == 32
    assert len(next_batch([15] * 9 + [24] * 3, generous, 32)) == 9


def test_a_gpu_pads_much():
    gpu = BatchRule(max_texts=256, max_tokens=65_536, pass_tokens=4096)
    assert sorted(next_batch([10, 60, 30, 12, 14], gpu, 256)) == [0, 1, 2, 3, 4]
