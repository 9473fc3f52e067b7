"""End users who are told apart only by the request's own fields share nothing, unless the operator says so."""

import json

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


NAMES = [
    {"user_id": "@"},
    {"trace_user_id": "@"},
    {"userId": "@"},
    {"end-user": "@"},
    {"Customer": "@"},
    {"user_email": "@"},
    {"user": {"id": "@"}},
    {"trace": {"user_id": "@", "session": "s"}},
    {"tags": [{"user_id": "@"}]},
    {"safety_identifier": "@"},
    {"team": "t", "user_id": "@"},
]


def named(metadata: object, name: object) -> object:
    return json.loads(json.dumps(metadata).replace('"@"', json.dumps(name)))


@pytest.mark.parametrize("metadata", NAMES, ids=str)
def test_end_users_that_metadata_names_share_nothing(metadata: object) -> None:
    keys = [key({**BASE, "metadata": named(metadata, name)}) for name in ("alice", "bob", 42, "42")] + [key(BASE)]
    assert len({keyed.exact_key for keyed in keys}) == len({keyed.partition for keyed in keys}) == len(keys)
    by = keying(per_end_user=False)
    shared = [key({**BASE, "metadata": named(metadata, name)}, by=by) for name in ("alice", "bob")]
    assert shared[0].exact_key == shared[1].exact_key == key(BASE).exact_key
    assert shared[0].partition == key(BASE).partition


@pytest.mark.parametrize("metadata", [value for value in NAMES if value != {"user": {"id": "@"}}], ids=str)
@pytest.mark.parametrize("name", ["", None])
def test_metadata_with_an_empty_name_names_nobody(metadata: object, name: object) -> None:
    nobody = {**BASE, "metadata": named(metadata, name)}
    assert (key(nobody).exact_key, key(nobody).partition) == (key(BASE).exact_key, key(BASE).partition)


@pytest.mark.parametrize(
    "metadata",
    [{"request_id": "1"}, {"tags": ["a"]}, {"trace": {"id": "x"}}, {}, ["a"], "user_id", 3, {"a": {"b": [{"c": 1}]}}],
    ids=str,
)
def test_metadata_without_an_end_user_is_in_no_key(metadata: object) -> None:
    keyed = key({**BASE, "metadata": metadata})
    assert (keyed.exact_key, keyed.partition) == (key(BASE).exact_key, key(BASE).partition)


def test_the_rest_of_metadata_is_in_no_key_beside_an_end_user() -> None:
    one, other = (key({**BASE, "metadata": {"user_id": "alice", "request_id": number}}) for number in "12")
    assert (one.exact_key, one.partition) == (other.exact_key, other.partition)
