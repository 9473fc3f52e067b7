"""How a partition is searched by its size: limits, their margins, and batches that are searched exhaustively."""

import math

import pytest

from semcache.index.choice import SearchChoice, choose
from tests.support.partitions import search_plan


def test_ivf_proposes_above_its_limit_and_stays_down_to_half_of_it():
    plan = search_plan()
    assert not choose(plan, 100, SearchChoice()).ivf
    assert choose(plan, 101, SearchChoice()).ivf
    assert choose(plan, 50, SearchChoice(ivf=True)).ivf
    assert not choose(plan, 49, SearchChoice(ivf=True)).ivf


def test_a_gpu_searches_from_its_limit_and_stays_down_to_half_of_it():
    plan = search_plan(open_gpu=lambda rows: None)
    assert not choose(plan, 49, SearchChoice()).gpu
    assert choose(plan, 50, SearchChoice()) == SearchChoice(gpu=True)
    assert choose(plan, 25, SearchChoice(gpu=True)).gpu
    assert not choose(plan, 24, SearchChoice(gpu=True)).gpu


def test_a_gpu_makes_ivf_and_rounding_needless():
    plan = search_plan({"rounded_from": 10}, open_gpu=lambda rows: None, rounded_product=lambda rows, queries: rows)
    assert choose(plan, 1000, SearchChoice()) == SearchChoice(gpu=True)


@pytest.mark.parametrize(("count", "exhaustive_from"), [(9, math.inf), (10, 3.0), (20, 4.0), (21, math.inf)])
def test_batches_are_exhaustive_where_rounded_products_are_cheaper_than_lists(count, exhaustive_from):
    tuning = {"rounded_from": 10, "exhaustive_rows": 10, "exhaustive_max_rows": 20}
    plan = search_plan(tuning, rounded_product=lambda rows, queries: rows)
    assert choose(plan, count, SearchChoice()).exhaustive_from == exhaustive_from
