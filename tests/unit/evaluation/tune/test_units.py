"""Units by the data's own groups, and by texts that are connected over pairs."""

from __future__ import annotations

import numpy as np

from semcache.evaluation.labels.pairs import BACKGROUND, LabelledPair, user
from semcache.evaluation.tune.units import units_of


def pair(stored: str, asked: str, group: str = "", stored_group: str = "") -> LabelledPair:
    return LabelledPair("p", user(stored), user(asked), same=True, kind="k", group=group, stored_group=stored_group)


def test_pairs_that_share_a_text_over_others_are_one_unit() -> None:
    units = units_of([pair("a", "b"), pair("c", "d"), pair("b", "e"), pair("e", "a")])
    assert units.count == 2
    assert units.asked[0] == units.asked[2] == units.asked[3] != units.asked[1]
    assert (units.asked == units.stored).all()
    assert units.basis == "groups of connected texts"


def test_a_wrong_hit_between_two_named_groups_does_not_join_them() -> None:
    units = units_of([pair("a", "b", "one"), pair("c", "b", "one", "two"), pair("c", "d", "two")])
    assert units.count == 2
    assert units.asked.tolist() == [0, 0, 1]
    assert units.stored.tolist() == [0, 1, 1]
    assert (units.basis, units.joined) == ("groups of the data", 0)


def test_groups_that_share_a_text_are_joined_and_counted() -> None:
    units = units_of([pair("a", "b", "one"), pair("b", "c", "two"), pair("x", "y", "three")])
    assert (units.count, units.joined) == (2, 1)


def test_days_that_share_a_text_are_not_joined() -> None:
    days = [f"2026-11-{day:02}" for day in range(1, 7)]
    units = units_of([pair("entry", "asked again", day) for day in days for _ in range(3)])
    assert (units.count, units.joined) == (6, 0)
    assert units.asked.tolist() == units.stored.tolist() == [day for day in range(6) for _ in range(3)]
    assert units_of([pair("entry", "asked", "20261101"), pair("entry", "asked", "20261102")]).count == 1


def test_a_prompt_of_other_traffic_belongs_to_no_unit() -> None:
    units = units_of([pair("other", "b", "one", BACKGROUND), pair("other", "c", "two", BACKGROUND)])
    assert units.count == 2
    assert units.stored.tolist() == [-1, -1]


def test_a_part_numbers_its_units_anew() -> None:
    units = units_of([pair("a", "b"), pair("c", "d"), pair("e", "f")])
    part = units.part(np.array([False, True, True]))
    assert part.count == 2
    assert part.asked.tolist() == part.stored.tolist() == [0, 1]
