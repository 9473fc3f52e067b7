"""Comparing pairs without a server: the server's keys, one embedding for each text, guards and scores."""

from __future__ import annotations

import pytest

from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.pairs import LabelledPair, Message, user
from semcache.evaluation.tune.comparing import ComparedPair, Relation, compare_pairs, texts_to_embed
from semcache.evaluation.tune.pair_scores import one_candidate_each, score_pairs, score_requests
from semcache.evaluation.tune.specs import read_specs
from semcache.settings import Settings, load_settings
from semcache.testing.embedder import HashingEmbedder

SYSTEM = {"role": "system", "content": "Be brief."}


def pair(stored: tuple[Message, ...] | str, asked: tuple[Message, ...] | str, *, same: bool = True) -> LabelledPair:
    sides = [user(side) if isinstance(side, str) else side for side in (stored, asked)]
    return LabelledPair("the pair", sides[0], sides[1], same, "k")


async def compared(
    *pairs: LabelledPair, settings: Settings | None = None
) -> tuple[tuple[ComparedPair, ...], HashingEmbedder]:
    embedder = HashingEmbedder()
    progress: list[int] = []
    result = await compare_pairs(pairs, embedder, settings or load_settings(), progress.append)
    assert sum(progress) <= texts_to_embed(pairs)
    return result, embedder


async def test_the_relation_is_the_servers() -> None:
    (exact, near, other_system, personal, stale, long), embedder = await compared(
        pair("What is a cache?", "What is a cache?"),
        pair("What is a cache?", "what is a cache"),
        pair((SYSTEM, *user("What is a cache?")), "what is a cache"),
        pair("Write to me@example.org", "Write to me@example.org"),
        pair("What's the latest news", "What is the news"),
        pair("word " * 1000, "word " * 999),
    )
    assert exact.relation is Relation.EXACT
    assert exact.similarity is None
    assert near.relation is Relation.COMPARED
    expected = float(embedder.vector("what is a cache") @ embedder.vector("What is a cache?"))
    assert near.similarity == pytest.approx(expected, abs=1e-6)
    assert (other_system.relation, other_system.reason) == (Relation.APART, "another_partition")
    assert (personal.relation, personal.reason) == (Relation.APART, "personal")
    assert (stale.relation, stale.reason) == (Relation.APART, "time_sensitive")
    assert (long.relation, long.reason) == (Relation.APART, "longer_than_model")


async def test_each_text_is_embedded_once() -> None:
    pairs = [pair(f"text {n % 3}", f"another {n % 3}") for n in range(600)]
    _, embedder = await compared(*pairs)
    texts = [text for batch in embedder.batches for text in batch]
    assert sorted(texts) == sorted({f"{word} {n}" for word in ("text", "another") for n in range(3)})
    assert texts_to_embed(pairs) == 6


@pytest.mark.parametrize(
    "text",
    ["x" * 100_000, "😀🎉👍🏽 " * 50, "مرحبا بالعالم שלום", "Привет world 你好 こんにちは", "a\u0000b", "\u202eabc"],
)
async def test_any_text_is_compared_or_kept_apart(text: str) -> None:
    ((one,), _) = await compared(pair(text, text + "!"))
    assert one.relation in {Relation.COMPARED, Relation.APART}
    scored = score_pairs([one], read_specs(["guards=all"], load_settings().decision)[0].decider)
    assert scored.scores.shape == (1,)


async def test_what_a_server_would_refuse_names_its_pair() -> None:
    settings = load_settings(None, {"limits": {"prompt_chars": 10}})
    with pytest.raises(InvalidRequestError, match="The pair the pair: ") as caught:
        await compared(pair("short", "x" * 11), settings=settings)
    assert caught.value.hint


async def test_a_judged_pair_has_a_score_or_a_veto() -> None:
    (items, _) = await compared(
        pair("Convert 10 miles", "Convert 12 miles", same=False),
        pair("Convert 10 miles", "convert 10 miles please"),
        pair("Convert 10 miles", "Convert 10 miles"),
        pair((SYSTEM, *user("Convert 10 miles")), "Convert 10 miles"),
    )
    (spec,) = read_specs(["threshold=0.1,guards=units"], load_settings().decision)
    progress: list[int] = []
    scored = score_pairs(items, spec.decider, progress.append)
    assert sum(progress) == 4
    assert scored.vetoes == (("units",), (), (), ())
    assert scored.scores[0] == float("-inf")
    assert scored.scores[1] == pytest.approx(items[1].similarity)
    assert scored.served(1.0).tolist() == [False, False, True, False]
    assert scored.served(0.1).tolist() == [False, True, True, False]
    asked = score_requests(scored, one_candidate_each(len(items)))
    assert asked.pairs == items
    assert asked.compared().tolist() == [False, True, False, False]
    part = asked.part(asked.compared())
    assert (part.pairs, part.vetoes, part.requests) == ((items[1],), ((),), 1.0)
