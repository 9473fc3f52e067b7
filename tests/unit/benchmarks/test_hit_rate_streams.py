"""Streams are the same every time, hold what they should, and their labels follow the pairs."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.hit_rate import split
from benchmarks.hit_rate.prompts import Corpus, LabelledPair, Prompt, answers_of, connected, own_corpora, paired_prompts
from benchmarks.hit_rate.streams import Stream, low_repeat, zipf
from benchmarks.worker import ROOT

PAIRS = (
    LabelledPair("h1", "a", "b", same=True, kind="paraphrase"),
    LabelledPair("h2", "b", "c", same=True, kind="paraphrase"),
    LabelledPair("t1", "a", "x", same=False, kind="negation"),
    LabelledPair("t2", "y", "z", same=False, kind="scope"),
    LabelledPair("t3", "a", "c", same=False, kind="scope"),
)


@pytest.fixture
def corpus() -> Corpus:
    clusters = {
        f"bank:{name}": tuple(Prompt(f"{name} {n}", f"bank:{name}", "banking77") for n in range(30)) for name in "pqrs"
    }
    unique = tuple(Prompt(f"unique {n}", f"u:{n}", "dolly") for n in range(200))
    paired, traps = paired_prompts(PAIRS, "fow_cache")
    return Corpus(clusters, unique, paired, traps)


def test_texts_that_hits_connect_share_a_label() -> None:
    labels = answers_of(PAIRS, "fow")
    assert labels["a"] == labels["b"] == labels["c"]
    assert len({labels["a"], labels["x"], labels["y"], labels["z"]}) == 4


def test_a_trap_within_one_answer_is_none() -> None:
    _, traps = paired_prompts(PAIRS, "fow_cache")
    assert traps == {frozenset("ax"): "negation", frozenset("yz"): "scope"}


def test_pairs_that_share_a_text_stay_together() -> None:
    assert [{pair.pair_id for pair in group} for group in connected(PAIRS)] == [{"h1", "h2", "t1", "t3"}, {"t2"}]


def test_streams_are_the_same_every_time(corpus: Corpus) -> None:
    assert zipf(corpus, 0.9, 600, seed=1) == zipf(corpus, 0.9, 600, seed=1)
    assert zipf(corpus, 0.9, 600, seed=1) != zipf(corpus, 0.9, 600, seed=2)
    stream = low_repeat(corpus, 0.04, seed=1)
    assert stream.orders(3) == low_repeat(corpus, 0.04, seed=1).orders(3)
    assert len(set(stream.orders(3))) == 4
    assert all(Counter(order) == Counter(stream.requests) for order in stream.orders(3))


def test_a_zipf_stream_has_each_must_miss_prompt_and_each_side_once(corpus: Corpus) -> None:
    stream = zipf(corpus, 1.1, 2_000, seed=1)
    assert len(stream.requests) == 2_000
    counts = Counter(request.text for request in stream.requests)
    assert all(counts[prompt.text] == 1 for prompt in (*corpus.unique, *corpus.paired))
    drawn = Counter(request.label for request in stream.requests if request.source == "banking77")
    shares = [count / drawn.total() for _, count in drawn.most_common()]
    weights = [rank**-1.1 for rank in (1, 2, 3, 4)]
    assert shares == pytest.approx([weight / sum(weights) for weight in weights], abs=0.04)


def test_the_low_repeat_stream_repeats_little_and_keeps_the_traps(corpus: Corpus) -> None:
    stream = low_repeat(corpus, 0.02, seed=1)
    assert 0 < stream.repeats < 0.05
    assert {"a", "x", "y", "z"} <= {request.text for request in stream.requests}


def test_repeats_are_what_a_cache_that_knows_all_would_serve() -> None:
    prompts = [Prompt(text, label, "own") for text, label in (("a", "1"), ("b", "1"), ("c", "2"), ("a", "1"))]
    assert Stream("s", tuple(prompts)).repeats == 0.5


def test_the_projects_own_pairs_make_two_parts_without_a_text_in_both() -> None:
    corpora = own_corpora(ROOT / "tests/quality/pairs.jsonl")
    texts = [
        {prompt.text for some in (*corpus.clusters.values(), corpus.paired) for prompt in some}
        for corpus in corpora.values()
    ]
    assert not texts[0] & texts[1]
    assert all(len(corpus.traps) > 100 for corpus in corpora.values())


def test_the_committed_split_parts_every_set_in_two() -> None:
    for parts in split.read().values():
        assert set(parts) == {"tuning", "reported"}
        assert not set(parts["tuning"]) & set(parts["reported"])
