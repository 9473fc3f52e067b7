"""Labels that are held back are measured as they should be, and nothing of them is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from semcache.errors import InvalidRequestError
from semcache.training.batches import TextPair
from semcache.training.labelled import check_pairs, divide_pairs
from semcache.training.measuring import Division, divide, measure, pairs_of
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
    divided = divide_pairs(pairs, divide((), 0.25, seed=1), 0.25, seed=1)
    assert (len(divided.held), len(divided.left_out)) == (15, 0)
    assert not {pair.first for pair in divided.trained} & {pair.first for pair in divided.held}


def test_pairs_go_where_the_groups_are_that_they_share_texts_with() -> None:
    many = groups()
    division = Division(many[:8], many[8:10], many[10:])
    of_trained = [TextPair(f"a {number}", group.texts[0].upper(), same=True) for number, group in enumerate(many[:8])]
    of_held = [TextPair(f"b {number}", group.traps[0], same=True) for number, group in enumerate(many[8:])]
    both = [TextPair(many[0].texts[1], "between", same=False), TextPair("between", many[11].texts[1], same=False)]
    others = [TextPair(f"c {number}", f"d {number}", same=True) for number in range(20)]
    divided = divide_pairs([*of_trained, *of_held, *both, *others], division, 0.25, seed=1)
    assert set(divided.left_out) == set(both)
    assert set(of_trained) <= set(divided.trained)
    assert set(of_held) <= set(divided.held)
    assert set(others) & set(divided.held)
    assert len(divided.trained) + len(divided.held) + len(divided.left_out) == 34


@pytest.mark.parametrize(
    "pairs",
    [
        [TextPair("a", "b", same=True), TextPair("B ", "A", same=False)],
        [TextPair("how do I mend my kettle", "repair of a broken kettle", same=False)],
        [TextPair("how do I mend my kettle", "Repair of a broken ladder", same=True)],
        [TextPair("How do I sell my kettle", "repair of a broken kettle", same=True)],
        [TextPair("repair of a broken kettle", "how do I sell my kettle", same=True)],
    ],
)
def test_labels_that_contradict_each_other_are_refused(pairs) -> None:
    with pytest.raises(InvalidRequestError, match="contradict each other"):
        check_pairs(pairs, groups())


def test_labels_in_two_orders_may_agree() -> None:
    check_pairs([TextPair("a", "b", same=True), TextPair("B ", "A", same=True)], groups())


def test_labels_that_groups_say_too_or_say_nothing_of_are_kept() -> None:
    check_pairs(
        [
            TextPair("how do I mend my kettle", "repair of a broken kettle", same=True),
            TextPair("how do I mend my kettle", "repair of a broken ladder", same=False),
            TextPair("how do I mend my kettle", "how do I sell my kettle", same=False),
            TextPair("how do I mend my kettle", "how do I sell my ladder", same=True),
            TextPair("how do I mend my kettle", "another text", same=True),
        ],
        groups(),
    )


def test_tested_texts_are_known_whatever_their_case_and_punctuation() -> None:
    known = "Which wine goes well with grilled salmon?"
    assert list(find_tested_texts([known, known.lower().strip("?"), "Which wine goes with nothing at all?"])) == [
        known,
        known.lower().strip("?"),
    ]
