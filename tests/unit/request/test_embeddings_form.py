"""Requests for embeddings: the table of fields is complete, inputs are divided, and each has a key of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import embedding_create_params

from semcache.errors import InvalidRequestError
from semcache.model import ApiProtocol, KeyedRequest, Tier
from semcache.request import inputs_of
from semcache.request.fields import Role
from semcache.request.forms.embeddings import FIELDS
from tests.unit.request.keys import key

BASE = {"model": "text-embedding-3-small", "input": "What is a cache?"}
OTHER_VALUES: dict[str, Any] = {
    "input": "What is a queue?",
    "model": "text-embedding-3-large",
    "dimensions": 256,
    "encoding_format": "base64",
    "user": "u-1",
}


def embedding_key(body: dict[str, Any]) -> KeyedRequest:
    return key(body, protocol=ApiProtocol.EMBEDDINGS)


def test_every_field_of_the_openai_api_is_in_the_table() -> None:
    known = set(embedding_create_params.EmbeddingCreateParams.__annotations__)
    assert known == set(FIELDS) == set(OTHER_VALUES)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_field_changes_the_keys_as_its_role_says(name: str) -> None:
    before, after = embedding_key(BASE), embedding_key({**BASE, name: OTHER_VALUES[name]})
    assert before.exact_key != after.exact_key
    assert (before.partition != after.partition) == (FIELDS[name].role is not Role.KEY)


def test_an_unknown_field_keeps_requests_apart() -> None:
    assert embedding_key({**BASE, "input_type": "query"}).partition != embedding_key(BASE).partition


@pytest.mark.parametrize("text", ["What is the weather in Paris now?", "Flip a coin", "continue", "What is my name?"])
def test_no_wording_makes_a_vector_unrepeatable(text: str) -> None:
    cacheability = embedding_key({**BASE, "input": text}).cacheability
    assert (cacheability.tier, cacheability.reason) == (Tier.EXACT, "embeddings")


def test_a_text_and_its_chat_share_no_key() -> None:
    chat = key({"model": BASE["model"], "messages": [{"role": "user", "content": BASE["input"]}]})
    assert chat.exact_key != embedding_key(BASE).exact_key


@pytest.mark.parametrize("other", [[3, 1, 2], [1, 2], [1, 2, 3, 4], "1,2,3", "[1, 2, 3]"])
def test_tokens_are_told_apart(other: object) -> None:
    tokens = embedding_key({**BASE, "input": [1, 2, 3]})
    assert tokens.exact_key == embedding_key({"input": [1, 2, 3], "model": BASE["model"]}).exact_key
    assert tokens.exact_key != embedding_key({**BASE, "input": other}).exact_key


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("a", ["a"]),
        (["a"], ["a"]),
        (["a", "b", "a"], ["a", "b", "a"]),
        ([1, 2], [[1, 2]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        (["a", [3]], ["a", [3]]),
    ],
)
def test_inputs_are_divided(given: object, inputs: list[object]) -> None:
    beginning, divided = inputs_of({"model": "m", "input": given, "dimensions": 8})
    assert divided == inputs
    bodies = [json.loads(beginning + json.dumps(each).encode() + b"}") for each in divided]
    assert bodies == [{"model": "m", "dimensions": 8, "input": each} for each in inputs]


def test_a_body_of_nothing_but_its_input_is_divided() -> None:
    beginning, _ = inputs_of({"input": "a"})
    assert json.loads(beginning + b'"a"}') == {"input": "a"}


@pytest.mark.parametrize("given", [None, "", [], [""], ["a", ""], ["a", []], [[]]])
def test_an_empty_input_is_refused(given: object) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        inputs_of({"model": "m", "input": given})
    assert caught.value.reason == "EMPTY_INPUT"


@pytest.mark.parametrize("given", [3, True, {"text": "a"}, [True], [1.5], ["a", 3], [[1, "a"]], [[[1]]], [["a"]]])
def test_what_is_neither_text_nor_tokens_is_refused(given: object) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        inputs_of({"model": "m", "input": given})
    assert caught.value.reason == "INVALID_PARAMETER"
