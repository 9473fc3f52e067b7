"""Adversarial pairs that were tried on a real server: what must not be served, what must, and what is right today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_real_pairs import rows, served

pytestmark = pytest.mark.model

REFUSED_THOUGH_RIGHT = {
    "How do I report damages?": '"damages" are money in a court case, so the plural isn\'t a form of "damage"',
    "How do I write an email in French?": 'elsewhere "mail" and "email" are two things',
}
"""Pairs with one answer that aren't served, by their first side, with the reason."""
MISSED = {
    "m64": "the shipped embedder reads no Japanese, so there is no cosine to lift",
    "m285": 'a sign isn\'t compared with its name, "+" with "plus"',
    "m301": "another wording",
    "m310": "an abbreviation that no table knows",
    **dict.fromkeys(
        ("m392", "m401", "m404", "m405", "m406", "m407", "m412"),
        "neither spelling is a common word, so a slip can't be told from another drug or person",
    ),
}
"""Trivial repeats that are still missed, by id, with the reason."""


def with_ids(path: Path) -> list[dict[str, Any]]:
    return [{"id": f"{path.stem}-{number}", **row} for number, row in enumerate(rows(path))]


async def served_ids(tmp_path: Path, pairs: list[dict[str, Any]]) -> set[str]:
    found = await served(tmp_path, pairs)
    return {pair["id"] for pair, hit in zip(pairs, found, strict=True) if hit}


async def test_no_wrong_hit_is_served_but_those_that_a_reader_could_argue_about(
    tmp_path: Path, shared_cases: Path
) -> None:
    pairs = with_ids(shared_cases / "wrong_hits.jsonl")
    assert len(pairs) > 100
    disputable = {pair["id"] for pair in pairs if pair["disputable"]}
    assert await served_ids(tmp_path, pairs) <= disputable


async def test_at_most_a_twentieth_of_the_attacks_is_served(tmp_path: Path, shared_cases: Path) -> None:
    pairs = with_ids(shared_cases / "attacks.jsonl")
    assert len(pairs) > 50
    assert len(await served_ids(tmp_path, pairs)) <= 0.05 * len(pairs)


async def test_what_was_decided_rightly_stays_right(tmp_path: Path, shared_cases: Path) -> None:
    pairs = with_ids(shared_cases / "right.jsonl")
    found = await served_ids(tmp_path, pairs)
    wrong = {pair["a"] for pair in pairs if (pair["id"] in found) != bool(pair["same"])}
    assert wrong == REFUSED_THOUGH_RIGHT.keys()


async def test_trivial_repeats_are_served_but_for_those_explained(tmp_path: Path, shared_cases: Path) -> None:
    pairs = with_ids(shared_cases / "missed_hits.jsonl")
    found = await served_ids(tmp_path, pairs)
    assert {pair["id"] for pair in pairs} - found == MISSED.keys()
