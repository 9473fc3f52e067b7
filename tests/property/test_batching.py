"""Plans lose no text, give none to two lanes, and let none wait for ever."""

from hypothesis import given
from hypothesis import strategies as st

from semcache.embedding.scheduling import (
    PADDING_SHARE,
    BatchRule,
    Idle,
    Running,
    Start,
    Until,
    Waiting,
    next_batch,
    plan,
)

lengths_of_texts = st.lists(st.integers(2, 512), min_size=1, max_size=120)
rules = st.builds(
    BatchRule,
    max_texts=st.integers(1, 64),
    max_tokens=st.integers(1, 4096),
    pass_tokens=st.integers(1, 200),
    text_padding=st.integers(0, 5),
)
lanes_at_work = st.builds(
    Running,
    lanes=st.just(4),
    ends_s=st.lists(st.floats(99.0, 101.0), max_size=4).map(tuple),
    token_s=st.floats(0.0, 0.01),
)


@given(lengths_of_texts, rules)
def test_batch_after_batch_takes_each_text_once(lengths, rule):
    waiting = list(range(len(lengths)))
    seen: list[int] = []
    while waiting:
        batch = next_batch([lengths[i] for i in waiting], rule, rule.max_texts)
        assert batch[0] == 0  # the oldest
        assert len(set(batch)) == len(batch)
        seen.extend(waiting[position] for position in batch)
        waiting = [text for position, text in enumerate(waiting) if position not in set(batch)]
    assert sorted(seen) == list(range(len(lengths)))


@given(lengths_of_texts, rules)
def test_the_limits_hold(lengths, rule):
    batch = next_batch(lengths, rule, rule.max_texts)
    real = sum(lengths[position] for position in batch)
    padded = max(lengths[position] for position in batch) * len(batch)
    assert len(batch) <= rule.max_texts
    assert len(batch) == 1 or padded <= rule.max_tokens
    assert padded - real <= real * PADDING_SHARE + max(rule.pass_tokens, rule.text_padding * len(batch))


@given(lengths_of_texts, rules, st.integers(0, 119))
def test_a_text_waits_for_no_more_batches_than_there_are_older_texts(lengths, rule, chosen):
    chosen %= len(lengths)
    waiting, batches = list(range(len(lengths))), 0
    while chosen in waiting:
        taken = {waiting[position] for position in next_batch([lengths[i] for i in waiting], rule, rule.max_texts)}
        waiting = [text for text in waiting if text not in taken]
        batches += 1
    assert batches <= chosen + 1


@given(lengths_of_texts, rules, lanes_at_work, st.floats(99.0, 100.0), st.booleans())
def test_a_plan_gives_each_free_lane_texts_of_its_own_or_a_moment_to_come(lengths, rule, lanes, since_s, closing):
    step = plan(100.0, Waiting(lengths, since_s, closing=closing), lanes, rule)
    free = lanes.lanes - len(lanes.ends_s)
    if free == 0:
        assert step == Idle()
    elif isinstance(step, Until):
        assert step.moment_s > 100.0
        assert lanes.ends_s
        assert not closing
    else:
        assert isinstance(step, Start)
        positions = [position for batch in step.batches for position in batch]
        assert 1 <= len(step.batches) <= free
        assert all(1 <= len(batch) <= rule.max_texts for batch in step.batches)
        assert len(set(positions)) == len(positions)
        assert set(positions) <= set(range(len(lengths)))
        assert step.batches[0][0] == 0  # the oldest


@given(lengths_of_texts, rules, lanes_at_work)
def test_at_the_moment_of_a_plan_the_texts_start(lengths, rule, lanes):
    waiting = Waiting(lengths, 100.0)
    step = plan(100.0, waiting, lanes, rule)
    for _ in range(2):  # at the first moment a lane may have become overdue, and texts wait for other texts
        if isinstance(step, Until):
            step = plan(step.moment_s, waiting, lanes, rule)
    assert not isinstance(step, Until)
