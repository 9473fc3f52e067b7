"""Estimates of usage: flagged, scaled from what is at hand, bounded in work; and counts that can't be true."""

import pytest

from semcache.costs.usage import estimate_usage, plausible_usage
from semcache.model import Usage


def words(text):
    return len(text.split())


def test_an_estimate_says_so_and_takes_nothing_for_cached():
    usage = estimate_usage(11, "hello world", "a b c", words)

    assert usage.estimated
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == (2, 0, 3)


def test_the_text_at_hand_stands_for_the_whole_prompt():
    assert estimate_usage(1100, "hello world", "", words).input_tokens == 200


def test_without_text_a_token_is_four_characters():
    assert estimate_usage(9, "", "", words).input_tokens == 3


def test_a_text_without_a_token_counts_as_one():
    assert estimate_usage(1, "?", " ", lambda text: 0).output_tokens == 1


def test_a_long_text_is_sampled():
    seen = []

    def count(text):
        seen.append(len(text))
        return len(text) // 2

    usage = estimate_usage(100_000, "x" * 100_000, "y" * 50_000, count)

    assert (usage.input_tokens, usage.output_tokens) == (50_000, 25_000)
    assert max(seen) <= 4096


def test_nothing_is_no_tokens():
    usage = estimate_usage(0, "", "", words)

    assert (usage.input_tokens, usage.output_tokens) == (0, 0)


def held(usage, *, request_bytes=100, answer_bytes=50, output_limit=None, choices=1):
    return plausible_usage(
        usage, request_bytes=request_bytes, answer_bytes=answer_bytes, output_limit=output_limit, choices=choices
    )


@pytest.mark.parametrize(
    ("usage", "fields"),
    [
        (Usage(100, 10, 50), {}),
        (Usage(1_500_000, 0, 50), {}),  # a film by its address
        (Usage(5_000_000, 0, 50), {"request_bytes": 20_000_000}),
        (Usage(100, 0, 120_000), {}),  # hidden reasoning
        (Usage(100, 0, 120_000), {"output_limit": 100}),
        (Usage(100, 0, 3_000_000), {"choices": 4}),
        (Usage(100, 0, 0, estimated=True), {}),
    ],
)
def test_a_count_that_may_be_true_is_left_alone(usage, fields):
    assert held(usage, **fields) is usage


@pytest.mark.parametrize(
    ("usage", "fields", "rest"),
    [
        (Usage(10**12, 0, 7), {}, (0, 0, 7)),
        (Usage(7, 0, 10**12, parts=(("reasoning", 10**12),)), {}, (7, 0, 0)),
        (Usage(10**12, 10**12, 10**12), {}, (0, 0, 0)),
        (Usage(7, 10**9, 7), {}, (0, 0, 7)),
        (Usage(7, 0, 7, cache_write_tokens=10**9), {}, (0, 0, 7)),
        (Usage(3_000_000, 0, 7), {}, (0, 0, 7)),
        (Usage(7, 0, 900_000), {"output_limit": 100}, (7, 0, 0)),
        (Usage(7, 0, 900_000), {"output_limit": 100, "choices": 2}, (7, 0, 0)),
    ],
)
def test_a_count_that_can_not_be_true_counts_as_missing(usage, fields, rest):
    usage = held(usage, **fields)
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == rest
    assert usage.estimated
    assert usage.cache_write_tokens == 0
    assert usage.parts == ()
