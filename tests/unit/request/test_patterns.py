"""Patterns are searched together, without regard to case, in bounded time for any text."""

import time

import pytest
from pydantic import ValidationError

from semcache.errors import SettingsError
from semcache.request.patterns import Patterns
from semcache.settings import CacheabilitySettings


def test_matching_patterns_are_returned_in_order():
    patterns = Patterns([r"\bnone\b", "b+", "^a", ""])
    assert patterns.find("A bB") == [1, 2, 3]
    assert patterns.find("none of it") == [0, 3]


def test_without_patterns_or_text_nothing_matches():
    assert list(Patterns([]).find("anything")) == []
    assert list(Patterns(["x"]).find("")) == []
    assert list(Patterns(["x"]).find("größer, 大きい\n\0")) == []


def test_more_patterns_than_re2_holds_are_refused_at_the_start():
    with pytest.raises(SettingsError, match="write fewer or simpler"):
        Patterns([rf"(\pL{{1,100}}x){number}" for number in range(100)])


def test_no_text_makes_a_pattern_run_without_end():
    patterns = Patterns([r"(a+)+$", r"[\w.+-]+@[\w-]+\.[\w.]+"])
    started_s = time.monotonic()
    assert list(patterns.find("a" * 200_000 + "!")) == []
    assert time.monotonic() - started_s < 5  # Python's `re` would take exponential time.


@pytest.mark.parametrize("pattern", ["(", "(?<=a)b", r"(a)\1", "[z-a]", "*"])
def test_a_pattern_outside_re2_syntax_is_refused(pattern):
    with pytest.raises(ValidationError, match="no regular expression in RE2's syntax"):
        CacheabilitySettings(personal=(pattern,))
