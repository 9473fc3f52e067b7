"""Streams of labelled texts, compared with brute force; other traffic; texts whose label is unknown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.files import files_of, load_named_texts
from semcache.evaluation.labels.pairs import BACKGROUND, LabelledPair, NamedTexts, user
from semcache.evaluation.tune.background import meet_background, read_background, shipped_background
from semcache.evaluation.tune.comparing import Relation, compare_pairs
from semcache.evaluation.tune.traffic import (
    LEAST_COSINE,
    ORDERS,
    StreamTexts,
    candidates_in_orders,
    lay_out,
    read_stream,
)
from semcache.settings import load_settings
from semcache.testing.embedder import HashingEmbedder

TEXTS = (
    ("reset", "How do I reset my password?"),
    ("reset", "how can I reset the password"),
    ("change", "How do I change my password?"),
    ("bread", "Bake bread with rye"),
    ("bread", "Bake bread with wheat"),
    ("bread", "Bake bread with rye"),
    ("stale", "What's the latest news"),
)


async def read(
    texts: tuple[tuple[str, str], ...], background: tuple[str, ...] = (), field: str = "cluster"
) -> StreamTexts:
    return await read_stream(NamedTexts(field, texts), background, HashingEmbedder(), load_settings(), lambda _: None)


async def test_each_text_meets_only_what_was_stored_before_it() -> None:
    stream = await read(TEXTS)
    assert stream.names == ("reset", "reset", "change", "bread", "bread")
    laid = lay_out(stream, 5)
    assert laid.requests.alone + laid.requests.weights.sum() == pytest.approx(5)
    met: set[tuple[str, str]] = set()
    for row in laid.requests.candidates:
        items = [laid.compared[number] for number in row if number >= 0]
        assert len({item.asked for item in items}) == 1
        cosines = [item.similarity or 0.0 for item in items]
        assert cosines == sorted(cosines, reverse=True)
        assert min(cosines) >= LEAST_COSINE
        met |= {(item.asked, item.stored) for item in items}
    for item in laid.compared:
        assert item.relation is Relation.COMPARED
        assert item.pair.same == (item.pair.group == item.pair.stored_group)
        assert item.asked != item.stored


def test_candidates_are_the_nearest_of_the_earlier_rows() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(700, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = np.arange(600) % 7
    found = candidates_in_orders(vectors, labels, 3, one_answer=True)
    assert found.shape == (ORDERS, 600, 3)
    again = candidates_in_orders(vectors, labels, 3, one_answer=True)
    assert (found == again).all()
    for order in range(ORDERS):
        for row in (0, 599):
            picked = found[order, row]
            # A labelled candidate came earlier, so this row is none of its candidates.
            for other in picked[(picked >= 0) & (picked < 600)]:
                assert row not in found[order, other]
    # Other traffic is stored before all: every row that it is nearest to has it first.
    cosines = vectors[:600] @ vectors.T
    np.fill_diagonal(cosines, -1)
    nearest = cosines.argmax(axis=1)
    for row in np.flatnonzero(nearest >= 600)[:20]:
        assert (found[:, row, 0] == nearest[row]).all()


async def test_one_intent_is_not_one_answer() -> None:
    laid = lay_out(await read(TEXTS, field="intent"), 5)
    assert laid.compared
    assert not any(item.pair.same for item in laid.compared)
    assert all(item.pair.group != item.pair.stored_group for item in laid.compared)


async def test_a_text_under_two_names_is_left_out_and_counted() -> None:
    stream = await read((*TEXTS, ("baking", "Bake bread with rye")))
    assert stream.ambiguous == 1
    assert "Bake bread with rye" not in {item.text for item in stream.keyed}


async def test_other_traffic_is_stored_before_all_and_its_answers_are_wrong() -> None:
    background = ("How do I reset my pass word?", "How do I reset my password?", "Where is the moon?")
    stream = await read(TEXTS, background)
    assert stream.equal_background == 1, "it equals a labelled text"
    assert stream.names[-2:] == (BACKGROUND, BACKGROUND)
    others = [item for item in lay_out(stream, 5).compared if item.pair.stored_group == BACKGROUND]
    assert {item.stored for item in others} >= {"How do I reset my pass word?"}
    assert not any(item.pair.same for item in others)
    assert stream.part({"bread"}).names == ("bread", "bread", BACKGROUND, BACKGROUND)


async def test_pairs_meet_other_traffic_too() -> None:
    embedder, settings = HashingEmbedder(), load_settings()
    pairs = (
        LabelledPair("near", user("how can I reset the password"), user("How do I reset my password?"), True, "k"),
        LabelledPair("talk", (*user("Hi"), *user("a")), (*user("Hi"), *user("b")), True, "k"),
    )
    compared = await compare_pairs(pairs, embedder, settings, lambda _: None)
    met = await meet_background(
        compared, ("How do I reset my passwords?", "how can I reset the password"), embedder, settings, {}
    )
    assert len(met.compared) == 3
    added = met.compared[2]
    assert (added.stored, added.pair.same, added.pair.stored_group) == (
        "How do I reset my passwords?",
        False,
        BACKGROUND,
    )
    assert met.requests.candidates[0].tolist()[:3] == [2, 0, -1], "nearest first"
    assert met.requests.candidates[1].tolist()[:2] == [1, -1], "a conversation lies in another partition"
    without = await meet_background(compared, (), embedder, settings, {})
    assert len(without.compared) == 2


def test_a_file_of_other_traffic_is_read_and_an_empty_one_refused(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    talk = {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ]
    }
    file.write_text(
        "\n".join(map(json.dumps, [{"prompt": "one"}, {"prompt": "one"}, {"prompt": "two"}, talk])), "utf-8"
    )
    told: list[str] = []
    assert read_background(file, told.append) == ("one", "two")
    assert len(told) == 1
    (tmp_path / "empty.jsonl").write_text("", "utf-8")
    with pytest.raises(InvalidRequestError, match="holds nothing"):
        read_background(tmp_path / "empty.jsonl")


def test_the_prompts_that_ship_are_many_and_distinct() -> None:
    prompts = shipped_background()
    assert len(prompts) == len(set(prompts)) == 414


async def test_no_text_that_is_compared_by_meaning() -> None:
    stream = await read((("stale", "What's the latest news"), ("other", "What's the weather today")))
    laid = lay_out(stream, 5)
    assert (laid.compared, laid.requests.alone) == ((), 0.0)


def test_files_of_names_are_told_from_files_of_pairs(tmp_path: Path) -> None:
    (tmp_path / "clusters.csv").write_text("text,cluster\nx,a\ny,b\nz,a\n", "utf-8")
    (tmp_path / "intents.jsonl").write_text('{"text": "x", "intent": "a"}\n{"text": "y", "intent": "b"}\n', "utf-8")
    (tmp_path / "pairs.csv").write_text("a,b,same\nx,y,1\n", "utf-8")
    clusters, intents, pairs = (load_named_texts(path) for path in files_of(tmp_path))
    assert clusters == NamedTexts("cluster", (("a", "x"), ("a", "z"), ("b", "y")))
    assert intents is not None
    assert (intents.field, intents.one_answer) == ("intent", False)
    assert pairs is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequestError, match="holds no"):
        files_of(tmp_path / "empty")
