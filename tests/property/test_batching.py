"""Batches lose nothing, duplicate nothing and keep nobody waiting for ever."""

from hypothesis import given
from hypothesis import strategies as st

from semcache.embedding.batching import BatchRule, next_batch

lengths_of_texts = st.lists(st.integers(2, 512), min_size=1, max_size=120)
rules = st.builds(
    BatchRule,
    max_texts=st.integers(1, 64),
    max_tokens=st.integers(1, 4096),
    pass_tokens=st.integers(0, 200),
    crowd_padding=st.integers(0, 5),
)


@given(lengths_of_texts, rules)
def test_batch_after_batch_takes_each_text_once(lengths, rule):
    waiting = list(range(len(lengths)))
    seen: list[int] = []
    while waiting:
        batch = next_batch([lengths[i] for i in waiting], rule)
        assert batch[0] == 0  # the oldest
        assert len(set(batch)) == len(batch)
        seen.extend(waiting[position] for position in batch)
        waiting = [text for position, text in enumerate(waiting) if position not in set(batch)]
    assert sorted(seen) == list(range(len(lengths)))


@given(lengths_of_texts, rules)
def test_the_limits_hold(lengths, rule):
    batch = next_batch(lengths, rule)
    real = sum(lengths[position] for position in batch)
    padded = max(lengths[position] for position in batch) * len(batch)
    assert len(batch) <= rule.max_texts
    assert len(batch) == 1 or padded <= rule.max_tokens
    assert padded - real <= real // 8 + rule.pass_tokens + rule.crowd_padding * max(0, len(batch) - 13)


@given(lengths_of_texts, rules, st.integers(0, 119))
def test_a_text_waits_for_no_more_batches_than_there_are_older_texts(lengths, rule, chosen):
    chosen %= len(lengths)
    waiting, batches = list(range(len(lengths))), 0
    while chosen in waiting:
        taken = {waiting[position] for position in next_batch([lengths[i] for i in waiting], rule)}
        waiting = [text for text in waiting if text not in taken]
        batches += 1
    assert batches <= chosen + 1
