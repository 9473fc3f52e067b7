"""Labels that are held back are measured as they should be, and nothing of them is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from semcache.errors import InvalidRequestError
from semcache.training.batches import TextPair
from semcache.training.labelled import check_pairs, divide_pairs
from semcache.training.measuring import divide, measure, pairs_of
from semcache.training.tested import find_tested_texts
from tests.support.training_groups import groups


def on_a_circle(texts: Sequence[str]) -> NDArray[np.float32]:
    """Each text is an angle in degrees."""
    angles = np.radians([float(text) for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("hits", "traps", "auc", "served"),
    [
        (("1", "2"), ("50", "60"), 1.0, 1.0),
        (("50", "60"), ("1", "2"), 0.0, 0.0),
        (("10", "60"), ("50", "70"), 0.75, 0.5),
        (("10",), ("-10",), 0.5, 0.0),
    ],
)
def test_the_area_counts_hits_above_traps(hits, traps, auc, served) -> None:
    pairs = [TextPair("0", angle, same=True) for angle in hits] + [TextPair("0", angle, same=False) for angle in traps]
    figures = measure(pairs, on_a_circle)
    assert (figures.hits, figures.traps) == (len(hits), len(traps))
    assert figures.auc == pytest.approx(auc)
    assert figures.hits_served == pytest.approx(served)


def test_without_traps_nothing_is_known() -> None:
    figures = measure([TextPair("0", "1", same=True)], on_a_circle)
    assert (figures.hits, figures.traps, figures.auc, figures.hits_served) == (1, 0, None, None)


def test_groups_are_held_back_whole_and_by_domain() -> None:
    many = [
        type(group)(f"{group.group_id}/{copy}", f"{group.domain}/{copy % 5}", "en", group.texts, group.traps)
        for copy in range(20)
        for group in groups()
    ]
    division = divide(many, 0.3, seed=1)
    assert len(division.trained) + len(division.domains) + len(division.groups) == len(many)
    assert len(division.domains) + len(division.groups) == round(0.3 * len(many))
    assert division.domains
    assert not {group.domain for group in division.domains} & {group.domain for group in division.trained}
    assert {group.domain for group in division.groups} <= {group.domain for group in division.trained}
    assert divide(many, 0.3, seed=1) == division
    assert divide(many, 0.0, seed=1).trained == tuple(many)


def test_a_group_makes_hits_of_its_texts_and_traps_of_its_traps() -> None:
    pairs = pairs_of(groups()[:1])
    assert sum(pair.same for pair in pairs) == 3
    assert sum(not pair.same for pair in pairs) == 6


def test_pairs_that_share_a_text_are_held_back_together() -> None:
    pairs = [TextPair(f"{number // 3}", f"{number}x", same=number % 2 == 0) for number in range(60)]
    trained, held = divide_pairs(pairs, 0.25, seed=1)
    assert len(held) == 15
    assert not {pair.first for pair in trained} & {pair.first for pair in held}


@pytest.mark.parametrize(
    "pairs",
    [
        [TextPair("a", "b", same=True), TextPair("B ", "A", same=False)],
        [TextPair("how do I mend my kettle", "repair of a broken kettle", same=False)],
    ],
)
def test_labels_that_contradict_each_other_are_refused(pairs) -> None:
    with pytest.raises(InvalidRequestError, match="contradict each other"):
        check_pairs(pairs, groups())


def test_labels_in_two_orders_may_agree() -> None:
    check_pairs([TextPair("a", "b", same=True), TextPair("B ", "A", same=True)], groups())


def test_tested_texts_are_known_whatever_their_case_and_punctuation() -> None:
    known = "Which wine goes well with grilled salmon?"
    assert list(find_tested_texts([known, known.lower().strip("?"), "Which wine goes with nothing at all?"])) == [
        known,
        known.lower().strip("?"),
    ]
