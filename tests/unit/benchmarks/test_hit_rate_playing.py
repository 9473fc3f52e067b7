"""What is served, by rules that can be followed by hand."""

from __future__ import annotations

from benchmarks.hit_rate.playing import EXACT_ONLY, MISS, play_cosine, play_semcache
from benchmarks.hit_rate.prompts import Prompt
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
