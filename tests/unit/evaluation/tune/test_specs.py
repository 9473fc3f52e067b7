"""Policies as a command line writes them."""

from __future__ import annotations

import pytest

from semcache.decision import GUARDS
from semcache.errors import InvalidRequestError
from semcache.evaluation.tune.specs import check_threshold, read_guards, read_specs
from semcache.settings import DecisionSettings, NamespaceThreshold

BASE = DecisionSettings(overrides=(NamespaceThreshold(namespace="n", threshold=0.5),), guards=("polarity",))


def test_what_a_spec_does_not_say_is_as_before() -> None:
    one, two, three = read_specs(
        ["threshold=0.95", "lax: guards = numbers + polarity , threshold = .9", "guards=none"], BASE
    )
    assert (one.name, one.decision.threshold, one.decision.guards) == ("threshold=0.95", 0.95, ("polarity",))
    assert one.decision.overrides == ()
    assert (two.name, two.decision.threshold, two.decision.guards) == ("lax", 0.9, ("numbers", "polarity"))
    assert (three.name, three.decision.threshold, three.decision.guards) == ("guards=none", BASE.threshold, ())
    assert three.decision.overrides == BASE.overrides


def test_all_guards() -> None:
    assert read_guards("all") == tuple(GUARDS)
    assert read_guards("numbers+numbers") == ("numbers",)


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["guards=numbers+nonsense"], "There is no guard 'nonsense'"),
        (["guards="], "There is no guard ''"),
        (["threshold=1.5"], "The threshold of the policy 'threshold=1.5' is 1.5"),
        (["threshold=nan"], "is nan, and a threshold is a cosine"),
        (["threshold=high"], "has the threshold 'high', which is no number"),
        (["threshold"], "isn't understood at 'threshold'"),
        (["colour=red"], "isn't understood at 'colour=red'"),
        ([""], "isn't understood at ''"),
        (["threshold=.9,threshold=.8"], "says threshold twice"),
        (["a:threshold=.9", "a:threshold=.8"], "Two policies are called 'a'"),
    ],
)
def test_a_bad_spec_is_a_sentence(texts: list[str], problem: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_specs(texts, BASE)
    assert problem in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("value", [-1.001, 1.001, float("nan"), float("inf")])
def test_a_threshold_is_a_cosine(value: float) -> None:
    with pytest.raises(InvalidRequestError, match="from -1 to 1"):
        check_threshold(value)
    assert check_threshold(-1.0) == -1.0
