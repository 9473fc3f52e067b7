"""Patterns: found case aside, all at once, whatever a caller writes."""

import time

import pytest
from pydantic import ValidationError

from semcache.errors import SettingsError
from semcache.request.patterns import Patterns
from semcache.settings import CacheabilitySettings


def test_those_that_match_are_found_in_order():
    patterns = Patterns([r"\bnone\b", "b+", "^a", ""])
    assert patterns.found("A bB") == [1, 2, 3]
    assert patterns.found("none of it") == [0, 3]


def test_none_and_nothing():
    assert list(Patterns([]).found("anything")) == []
    assert list(Patterns(["x"]).found("")) == []
    assert list(Patterns(["x"]).found("größer, 大きい\n\0")) == []


def test_more_of_them_than_re2_holds_are_refused_at_the_start():
    with pytest.raises(SettingsError, match="write fewer or simpler"):
        Patterns([rf"(\pL{{1,100}}x){number}" for number in range(100)])


def test_no_text_makes_a_pattern_run_for_ever():
    patterns = Patterns([r"(a+)+$", r"[\w.+-]+@[\w-]+\.[\w.]+"])
    started_s = time.monotonic()
    assert list(patterns.found("a" * 200_000 + "!")) == []
    assert time.monotonic() - started_s < 5  # Python's own would take longer than the universe has


@pytest.mark.parametrize("pattern", ["(", "(?<=a)b", r"(a)\1", "[z-a]", "*"])
def test_what_re2_does_not_take_is_told(pattern):
    with pytest.raises(ValidationError, match="no regular expression in RE2's syntax"):
        CacheabilitySettings(personal=(pattern,))
