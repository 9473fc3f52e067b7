"""The table of fields is complete, and each field affects the keys as its role says."""

import pytest
from openai.types.chat import completion_create_params

from semcache.errors import InvalidRequestError
from semcache.model import Tier
from semcache.request.fields import Role
from semcache.request.forms.chat import FIELDS
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
    assert (before.partition != after.partition) == (role in {Role.PARTITION, Role.END_USER})


def test_an_unknown_field_keeps_requests_apart() -> None:
    assert key({**BASE, "new_knob": 1}).partition != key(BASE).partition


@pytest.mark.parametrize(("name", "value"), [("messages", "hello"), ("messages", {"a": 1}), ("model", 3)])
def test_without_messages_and_a_model_there_is_no_request(name: str, value: object) -> None:
    with pytest.raises(InvalidRequestError, match=name) as caught:
        key({**BASE, name: value})
    assert caught.value.reason == "INVALID_PARAMETER"
    assert caught.value.metadata == {"field": name}


ODD_VALUES = [
    ("temperature", "warm"),
    ("temperature", "0.7"),
    ("temperature", True),
    ("max_tokens", 1.5),
    ("max_tokens", True),
    ("max_tokens", "9"),
    ("n", "2"),
    ("n", 1.5),
    ("seed", "7"),
    ("stop", [1]),
    ("stop", 1),
    ("tools", {}),
    ("tool_choice", []),
    ("response_format", "json"),
    ("modalities", "audio"),
    ("logit_bias", []),
    ("logprobs", "yes"),
]


@pytest.mark.parametrize(("name", "value"), ODD_VALUES)
def test_a_value_of_a_type_without_a_known_meaning_is_forwarded_and_not_cached(name: str, value: object) -> None:
    keyed = key({**BASE, name: value})
    assert (keyed.cacheability.tier, keyed.cacheability.reason) == (Tier.NONE, "unknown_form")
    assert keyed.exact_key != key(BASE).exact_key


IN_NO_RANGE = [
    ("temperature", 2.5, Tier.NONE, "temperature"),
    ("temperature", -1, Tier.SEMANTIC, "cacheable"),
    ("top_p", 2, Tier.SEMANTIC, "cacheable"),
    ("max_tokens", 0, Tier.SEMANTIC, "cacheable"),
    ("max_tokens", -1, Tier.SEMANTIC, "cacheable"),
    ("max_tokens", 2**63, Tier.SEMANTIC, "cacheable"),
    ("max_completion_tokens", -1, Tier.SEMANTIC, "cacheable"),
    ("n", 0, Tier.SEMANTIC, "cacheable"),
    ("n", 500, Tier.NONE, "several_choices"),
    ("n", 2.0, Tier.NONE, "several_choices"),
    ("seed", 2**70, Tier.SEMANTIC, "cacheable"),
    ("seed", -(2**70), Tier.SEMANTIC, "cacheable"),
    ("logprobs", 5, Tier.NONE, "logprobs"),
    ("top_logprobs", 100, Tier.NONE, "logprobs"),
    ("stop", [], Tier.SEMANTIC, "cacheable"),
    ("presence_penalty", -7.5, Tier.SEMANTIC, "cacheable"),
    ("metadata", ["a"], Tier.SEMANTIC, "cacheable"),
    ("service_tier", 3, Tier.SEMANTIC, "cacheable"),
    ("stream", "yes", Tier.SEMANTIC, "cacheable"),
    ("stream_options", [1], Tier.SEMANTIC, "cacheable"),
    ("user", 42, Tier.SEMANTIC, "cacheable"),
]


@pytest.mark.parametrize(("name", "value", "tier", "reason"), IN_NO_RANGE)
def test_the_upstream_says_which_values_are_in_range(name: str, value: object, tier: Tier, reason: str) -> None:
    cacheability = key({**BASE, name: value}).cacheability
    assert (cacheability.tier, cacheability.reason) == (tier, reason)


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": 7}, 7),
        ({"max_tokens": 7.0}, 7),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 7, "max_completion_tokens": -1}, 7),
        ({"max_tokens": 0}, None),
        ({"max_tokens": -1}, None),
        ({"max_tokens": 2**63}, None),
        ({"max_tokens": "7"}, None),
    ],
)
def test_a_limit_that_is_none_counts_as_unset(fields: dict[str, object], limit: int | None) -> None:
    assert key({**BASE, **fields}).output_limit == limit


@pytest.mark.parametrize(("n", "choices"), [(None, 1), (0, 1), (-3, 1), (1, 1), (4, 4), (2.0, 2), ("4", 1), (1.5, 1)])
def test_there_is_at_least_one_choice(n: object, choices: int) -> None:
    assert key({**BASE, "n": n}).choices == choices


@pytest.mark.parametrize(
    ("options", "wants"),
    [({"include_usage": True}, True), ({"include_usage": False}, False), ({}, False), ([1], False), ("x", False)],
)
def test_options_of_any_form_say_whether_the_usage_is_wanted(options: object, wants: bool) -> None:
    assert key({**BASE, "stream_options": options}).include_usage is wants


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"messages", "model"}))
def test_null_means_unset(name: str) -> None:
    unset = key({**BASE, name: None})
    assert (unset.exact_key, unset.cacheability) == (key(BASE).exact_key, key(BASE).cacheability)
