"""vCache's rule, as the benchmark has it, keeps its error on a source whose probabilities are known."""

from __future__ import annotations

import math
import random

import pytest

from benchmarks.hit_rate.playing import MISS
from benchmarks.hit_rate.prompts import Prompt
from benchmarks.hit_rate.verified import INVENTED, OBSERVED, EntryModel, play_verified, started
from tests.unit.benchmarks.worlds import world


@pytest.mark.parametrize("delta", [0.01, 0.05])
def test_at_most_delta_of_requests_are_wrong_on_a_synthetic_source(delta: float) -> None:
    chance = random.Random(11)
    served = wrong = requests = 0
    for _ in range(20):
        model = EntryModel()
        for _ in range(250):
            similarity = chance.uniform(0.5, 1.0)
            correct = chance.random() < 1 / (1 + math.exp(-40 * (similarity - 0.75)))
            requests += 1
            if chance.random() >= model.explore(similarity, delta):
                served += 1
                wrong += not correct
            else:
                model.observe(similarity, correct=correct)
    assert served > 0.02 * requests
    assert wrong <= delta * requests


def test_a_cold_entry_is_explored() -> None:
    assert EntryModel().explore(1.0, 0.05) == 1.0


def test_the_bound_rises_with_right_answers_and_falls_with_a_wrong_one() -> None:
    model = EntryModel()
    bounds = []
    for _ in range(30):
        model.observe(0.95, correct=True)
        bounds.append(model.bound(0.95))
    assert bounds == sorted(bounds)
    assert 0.8 < bounds[-1] < 1
    assert model.bound(0.7) < bounds[-1]
    model.observe(0.95, correct=False)
    assert model.bound(0.95) < bounds[-1]


def test_explorations_are_misses_and_equal_texts_are_too_without_an_exact_tier() -> None:
    prompts = [Prompt("a", "l:1", "own"), Prompt("b", "l:2", "own")]
    some = world(prompts, [0, 40])
    assert play_verified(some, [0, 0, 1], 0.01, 1, exact_tier=False).tolist() == [MISS, MISS, MISS]
    assert play_verified(some, [0, 0, 1], 0.01, 1, exact_tier=True).tolist() == [MISS, 0, MISS]


def test_invented_observations_raise_the_bound_that_real_ones_gave() -> None:
    honest, seeded = started(OBSERVED), started(INVENTED)
    assert seeded.bound(0.97) > honest.bound(0.97)
    for _ in range(4):
        assert seeded.explore(0.97, 0.05) == 1.0
        for model in (honest, seeded):
            model.observe(0.9, correct=True)
    # Both saw the same four requests; what was invented lets more through unexplored.
    assert seeded.bound(0.97) > honest.bound(0.97)
    assert seeded.explore(0.97, 0.05) < honest.explore(0.97, 0.05)
