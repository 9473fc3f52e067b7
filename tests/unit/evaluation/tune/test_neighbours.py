"""Pairs of nearest neighbours, compared with brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.files import files_of, load_named_texts
from semcache.evaluation.labels.pairs import NamedTexts
from semcache.evaluation.tune.comparing import Relation, compare_pairs
from semcache.evaluation.tune.neighbours import nearest_pairs
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


async def test_each_text_meets_its_nearest_other_one() -> None:
    embedder = HashingEmbedder()
    progress: list[int] = []
    named = NamedTexts("cluster", TEXTS)
    pairs, vectors = await nearest_pairs(named, embedder, load_settings(), progress.append)
    texts = list(dict.fromkeys(text for name, text in TEXTS if name != "stale"))
    assert [pair.asked[0]["content"] for pair in pairs] == texts
    names = {text: name for name, text in TEXTS}
    for pair in pairs:
        asked, stored = pair.asked[0]["content"], pair.stored[0]["content"]
        others = [text for text in texts if text != asked]
        assert stored == max(others, key=lambda other: float(embedder.vector(asked) @ embedder.vector(other)))
        assert pair.same == (names[asked] == names[stored])
        assert pair.sampled_with == names[asked]
    before = len(embedder.batches)
    compared = await compare_pairs(pairs, embedder, load_settings(), progress.append, vectors)
    assert len(embedder.batches) == before
    assert sum(progress) == len(texts)
    assert all(item.relation is Relation.COMPARED for item in compared)


async def test_one_intent_is_not_one_answer() -> None:
    pairs, _ = await nearest_pairs(NamedTexts("intent", TEXTS), HashingEmbedder(), load_settings(), lambda _: None)
    names = {text: name for name, text in TEXTS}
    assert len(pairs) == 5
    for pair in pairs:
        assert not pair.same
        assert names[pair.asked[0]["content"]] != names[pair.stored[0]["content"]]


async def test_many_texts_go_through_in_parts() -> None:
    rng = np.random.default_rng(1)
    texts = tuple((str(n % 9), " ".join(f"w{word}" for word in rng.integers(0, 300, 6))) for n in range(1100))
    embedder = HashingEmbedder()
    pairs, vectors = await nearest_pairs(NamedTexts("cluster", texts), embedder, load_settings(), lambda _: None)
    every = np.stack([vectors[text] for _, text in texts])
    for pair in (pairs[0], pairs[600], pairs[-1]):
        asked, stored = (vectors[side[0]["content"]] for side in (pair.asked, pair.stored))
        assert float(stored @ asked) == pytest.approx(np.sort(every @ asked)[-2], abs=1e-6)


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
