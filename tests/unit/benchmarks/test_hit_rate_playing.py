"""What is served, by rules that can be followed by hand."""

from __future__ import annotations

import numpy as np

from benchmarks.hit_rate.playing import EXACT_ONLY, MISS, play_cosine, play_semcache, play_shipped
from benchmarks.hit_rate.prompts import Prompt
from benchmarks.hit_rate.world import World
from semcache.decision import Decider
from semcache.decision.repeats import ENOUGH
from semcache.settings import DecisionSettings
from tests.unit.benchmarks.worlds import world

PROMPTS = [Prompt(f"What is known about the {name}?", f"l:{name}", "own") for name in ("heron", "kestrel", "osprey")]
CIRCLE = world(PROMPTS, [0, 10, 60])
"""Cosines: .985 from the first to the second, .643 from the second to the third, .5 from the first to the third."""
REFUND = [
    Prompt("How do I enable dark mode in version 3?", "l:3", "own"),
    Prompt("How do I enable dark mode in version 4?", "l:4", "own"),
    Prompt("How do I enable the dark mode in version 4?", "l:4", "own"),
]


def test_a_miss_is_stored_and_a_near_text_is_served_it() -> None:
    assert play_cosine(CIRCLE, [0, 1, 2, 0, 2], 0.9).tolist() == [MISS, 0, MISS, 0, 2]


def test_what_is_served_is_not_stored() -> None:
    # The second is served the first's answer, so that the third finds nothing within .6.
    assert play_cosine(CIRCLE, [0, 1, 2], 0.6).tolist() == [MISS, 0, MISS]
    assert play_cosine(CIRCLE, [1, 2], 0.6).tolist() == [MISS, 1]


def test_exact_only_serves_equal_texts_alone() -> None:
    for play in (play_cosine, play_semcache):
        assert play(CIRCLE, [0, 1, 0, 1], EXACT_ONLY).tolist() == [MISS, MISS, 0, 1]


def test_semcache_walks_past_a_vetoed_entry() -> None:
    # The vetoed entry (another version) lies nearer to the request than the right one.
    some = world(REFUND, [1, 0, 3])
    assert some.score(2, 0) == float("-inf")
    assert play_cosine(some, [0, 1, 2], 0.97).tolist() == [MISS, 0, 0]
    assert play_semcache(some, [0, 1, 2], 0.97).tolist() == [MISS, MISS, 1]


def test_as_shipped_the_threshold_is_higher_once_few_requests_repeat_others() -> None:
    strangers = [Prompt(f"How far away is star {number}?", f"l:{number}", "own") for number in range(ENOUGH + 1)]
    reworded = Prompt("Which hat suits a heron at sea?", "l:0", "own")
    vectors = np.eye(ENOUGH + 2, dtype=np.float32)
    vectors[-1] = 0.9 * vectors[0] + np.sqrt(1 - 0.9**2) * vectors[-1]
    some = World([*strangers, reworded], vectors, Decider(DecisionSettings()))
    few, many = list(range(ENOUGH + 1)), [0, *([1] * ENOUGH)]
    for before, served in ((few, MISS), (many, 0), ([0], 0)):
        asked = [*before, ENOUGH + 1]
        assert play_shipped(some, asked, 0.86)[-1] == served
        assert play_semcache(some, asked, 0.86)[-1] == 0
