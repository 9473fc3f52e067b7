"""A question is asked where what a yes would spare exceeds what it takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcache.costs.outlays import Outlay, OutlayMeans, Share, is_worth

amounts = st.floats(0, 1e12)
times = st.floats(0, 1e4)


@pytest.mark.parametrize(
    ("answer", "question", "chance", "nanousd_per_s", "worth"),
    [
        (Outlay(1_000_000, 2.0), Outlay(30_000, 0.2), 0.5, 1_000_000, True),
        (Outlay(1_000_000, 2.0), Outlay(30_000, 0.2), 0.05, 1_000_000, False),  # .15 of a millidollar against .23
        (Outlay(9_000, 0.0), Outlay(15_000, 0.0), 1.0, 0, False),  # dearer than what it spares
        (Outlay(0, 5.0), Outlay(30_000, 0.2), 0.5, 0, False),  # an own model, whose time is worth nothing
        (Outlay(0, 5.0), Outlay(30_000, 0.2), 0.5, 1_000_000, True),
        (Outlay(0, 0.0), Outlay(0, 0.0), 1.0, 0, False),  # nothing is spared, nothing is asked
        (Outlay(100, 0.0), Outlay(50, 0.0), 0.5, 0, False),  # just as much
    ],
)
def test_what_is_worth_asking(answer, question, chance, nanousd_per_s, worth):
    assert is_worth(answer, question, chance, nanousd_per_s) is worth


@given(
    answer=st.builds(Outlay, amounts, times),
    question=st.builds(Outlay, amounts, times),
    chance=st.floats(0, 1),
    rate=st.floats(0, 1e9),
    more=amounts,
)
def test_a_dearer_answer_is_never_less_worth_asking_for(answer, question, chance, rate, more):
    dearer = Outlay(answer.nanousd + more, answer.seconds)

    assert is_worth(dearer, question, chance, rate) >= is_worth(answer, question, chance, rate)
    assert not is_worth(answer, question, 0.0, rate)


def test_the_mean_of_few_is_plain_and_of_many_follows_the_latest():
    means = OutlayMeans()
    assert means.mean("a") is None
    for nanousd in (100, 200, 300):
        means.note("a", Outlay(nanousd, nanousd / 100))
    assert means.mean("a") == pytest.approx(Outlay(200, 2.0))
    for _ in range(100):
        means.note("a", Outlay(1_000, 9.0))
    assert means.mean("a") == pytest.approx(Outlay(1_000, 9.0), rel=0.05)
    assert means.mean("b") is None


def test_aliases_are_bounded():
    means = OutlayMeans()
    for number in range(5_000):
        means.note(f"alias {number}", Outlay(1, 1))

    assert means.mean("alias 0") is None
    assert means.mean("alias 4999") == Outlay(1, 1)


def test_a_share_begins_at_a_half_and_follows_what_comes():
    share = Share()
    assert share.value == 0.5
    share.add(False)
    assert share.value == pytest.approx(1 / 3)
    for _ in range(200):
        share.add(True)
    assert share.value > 0.95


def test_a_share_goes_back_to_a_half_while_nothing_is_asked():
    share = Share()
    for _ in range(200):
        share.add(False)
    lowest = share.value
    assert lowest < 0.02
    for _ in range(100):
        share.fade()
    assert 0.08 < share.value < 0.12
    for _ in range(5_000):
        share.fade()
    assert share.value == pytest.approx(0.5, abs=0.001)
