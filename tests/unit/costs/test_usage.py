"""Estimates of usage: flagged, scaled from what is at hand, bounded in work."""

from semcache.costs.usage import estimate_usage


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
