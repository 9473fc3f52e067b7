"""The table of fields is complete, and each field affects the keys as its role says."""

import pytest
from openai.types.chat import completion_create_params

from semcache.errors import InvalidRequestError
from semcache.request.fields import FIELDS, Role
from tests.unit.request.keys import BASE, key

OTHER_VALUES = {
    "messages": [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "What is the capital of Spain?"},
    ],
    "model": "gpt-4o",
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "none",
    "parallel_tool_calls": True,
    "functions": [{"name": "f"}],
    "function_call": "none",
    "response_format": {"type": "json_object"},
    "prediction": {"type": "content", "content": "x"},
    "web_search_options": {},
    "temperature": 0.5,
    "top_p": 0.5,
    "max_tokens": 10,
    "max_completion_tokens": 10,
    "stop": ["\n"],
    "seed": 7,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "logit_bias": {"50256": -100},
    "n": 2,
    "logprobs": True,
    "top_logprobs": 2,
    "reasoning_effort": "low",
    "verbosity": "low",
    "modalities": ["text"],
    "audio": {"voice": "alloy", "format": "wav"},
    "moderation": {"mode": "on"},
    "user": "u-1",
    "safety_identifier": "u-1",
    "metadata": {"a": "b"},
    "store": True,
    "service_tier": "flex",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {},
    "stream": True,
    "stream_options": {"include_usage": True},
}


def test_every_field_of_the_openai_api_is_in_the_table() -> None:
    known = set(completion_create_params.CompletionCreateParamsBase.__annotations__) | {"stream"}
    assert known - set(FIELDS) == set()


def test_the_examples_here_cover_the_table() -> None:
    assert set(OTHER_VALUES) == set(FIELDS)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_field_changes_the_keys_as_its_role_says(name: str) -> None:
    before, after = key(BASE), key({**BASE, name: OTHER_VALUES[name]})
    role = FIELDS[name].role
    assert (before.exact_key != after.exact_key) == (role is not Role.IGNORED)
    assert (before.partition != after.partition) == (role is Role.PARTITION)


def test_an_unknown_field_keeps_requests_apart() -> None:
    assert key({**BASE, "new_knob": 1}).partition != key(BASE).partition


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("messages", "hello"),
        ("model", 3),
        ("temperature", "warm"),
        ("temperature", 3),
        ("max_tokens", 1.5),
        ("max_tokens", 0),
        ("max_tokens", True),
        ("n", 0),
        ("stop", [1]),
        ("tools", {}),
        ("stream", "yes"),
        ("logit_bias", []),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_the_fields_name(name: str, value: object) -> None:
    with pytest.raises(InvalidRequestError, match=name) as caught:
        key({**BASE, name: value})
    assert caught.value.reason == "INVALID_PARAMETER"
    assert caught.value.metadata == {"field": name}


def test_null_means_unset() -> None:
    assert key({**BASE, "temperature": None}).exact_key == key(BASE).exact_key
