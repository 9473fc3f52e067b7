"""End users who are told apart only by the request's own fields share nothing, unless the operator says so."""

import pytest

from tests.unit.request.keys import BASE, key, keying

ALICE, BOB = {"user": "alice"}, {"user": "bob"}


@pytest.mark.parametrize("name", ["user", "safety_identifier"])
def test_end_users_share_nothing(name: str) -> None:
    keys = [key({**BASE, name: value}) for value in ("alice", "bob", 42, "42", ["alice"])] + [key(BASE)]
    assert len({keyed.exact_key for keyed in keys}) == len({keyed.partition for keyed in keys}) == len(keys)
    assert len({keyed.text for keyed in keys}) == 1
    assert key({**BASE, name: "alice"}).partition == keys[0].partition


def test_both_names_of_an_end_user_count() -> None:
    assert key({**BASE, **ALICE}).partition != key({**BASE, "safety_identifier": "alice"}).partition
    assert key({**BASE, **ALICE}).partition != key({**BASE, **ALICE, "safety_identifier": "x"}).partition


def test_an_end_user_without_a_name_is_none() -> None:
    assert key({**BASE, "user": ""}).exact_key == key({**BASE, "user": None}).exact_key == key(BASE).exact_key


def test_a_key_of_the_providers_prompt_cache_names_no_end_user() -> None:
    assert key({**BASE, "prompt_cache_key": "a"}).partition == key({**BASE, "prompt_cache_key": "b"}).partition


def test_end_users_share_where_the_operator_says_so() -> None:
    by = keying(per_end_user=False)
    assert key({**BASE, **ALICE}, by=by).exact_key == key({**BASE, **BOB}, by=by).exact_key == key(BASE).exact_key
    assert key({**BASE, **ALICE}, by=by).partition == key({**BASE, **BOB}, by=by).partition == key(BASE).partition
