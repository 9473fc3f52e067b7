"""The splits of `tune_splits`, short: clusters of made-up texts, dealt into halves."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.tune_splits import BARE, World, run_splits, summarise
from semcache.evaluation.labels.pairs import BACKGROUND, NamedTexts
from semcache.evaluation.tune.pair_scores import ScoredPairs, score_requests
from semcache.evaluation.tune.traffic import StreamTexts, lay_out, read_stream
from semcache.settings import load_settings
from semcache.testing.embedder import HashingEmbedder


async def texts(clusters: int = 60, size: int = 12) -> StreamTexts:
    """Return clusters whose texts share two words of three, and some texts that look like another cluster's."""
    rng = np.random.default_rng(5)
    named = tuple(
        (f"c{cluster}", f"subject{cluster - (rng.random() < 0.03)} matter{cluster} word{rng.integers(0, 400)}")
        for cluster in range(clusters)
        for _ in range(size)
    )
    background = tuple(f"subject{n} other traffic" for n in range(20))
    return await read_stream(
        NamedTexts("cluster", named), background, HashingEmbedder(), load_settings(), lambda _: None
    )


async def test_recommendations_keep_their_budget_in_the_other_half() -> None:
    outcomes = run_splits(await texts(), 20, 1, (0.01, 0.2), BARE)
    details = summarise(outcomes, 20)[1]
    wide = details["0.2"]
    assert isinstance(wide, dict)
    assert wide["recommended"] >= 5, "a proof that never succeeds says nothing"
    assert wide["broke"] <= max(1, 0.05 * wide["recommended"])
    assert outcomes == run_splits(await texts(), 20, 1, (0.01, 0.2), BARE), "equal seeds give equal splits"


async def test_a_part_is_laid_out_as_tune_lays_it_out() -> None:
    stream = await texts(12)
    world = World(stream, BARE)
    names = sorted(set(stream.names) - {BACKGROUND})
    scored, units = world.part([0, 3, 5, 7])
    laid = lay_out(stream.part({names[label] for label in (0, 3, 5, 7)}), 5)
    cosines = np.array([item.similarity for item in laid.compared])
    same = np.array([item.pair.same for item in laid.compared])
    direct = score_requests(ScoredPairs(laid.compared, cosines, same, ((),) * len(same)), laid.requests)
    assert units.count == 4
    assert scored.requests == pytest.approx(direct.requests)
    for threshold in (0.9, 0.7, 0.5):
        ours, theirs = (one.weights[one.served(threshold)].sum() for one in (scored, direct))
        assert ours == pytest.approx(theirs)
