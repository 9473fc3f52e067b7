"""Requests of the responses API: the table of their fields, their conversation, their keys, and their tiers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import response_create_params, response_input_item_param, tool_param
from typing_extensions import get_type_hints

from semcache.errors import InvalidRequestError
from semcache.model import ApiProtocol, KeyedRequest, Tier
from semcache.request.fields import Role
from semcache.request.forms.responses import FIELDS
from semcache.settings import CacheabilitySettings
from tests.unit.request import keys
from tests.unit.request.keys import keying

BASE: Mapping[str, Any] = {"model": "gpt-4o-mini", "input": "What is the capital of France?"}
OTHER_VALUES = {
    "input": [{"role": "system", "content": "You are terse."}, {"role": "user", "content": "And of Spain, please?"}],
    "model": "gpt-4o",
    "instructions": "You are terse.",
    "tools": [{"type": "function", "name": "f", "parameters": {}}],
    "tool_choice": "none",
    "parallel_tool_calls": True,
    "max_tool_calls": 3,
    "text": {"verbosity": "low"},
    "include": ["reasoning.encrypted_content"],
    "previous_response_id": "resp_1",
    "conversation": "conv_1",
    "prompt": {"id": "pmpt_1"},
    "store": False,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_logprobs": 2,
    "max_output_tokens": 10,
    "reasoning": {"effort": "low"},
    "truncation": "auto",
    "context_management": [{"type": "compaction"}],
    "image": {"context_compression": "enabled"},
    "moderation": {"model": "omni-moderation-latest"},
    "access_programs": {"cyber": "standard"},
    "background": True,
    "background_options": {"completion_window": "2h"},
    "prompt_cache_options": {"prewarm": True},
    "user": "u-1",
    "safety_identifier": "u-1",
    "metadata": {"a": "b"},
    "service_tier": "flex",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "stream": True,
    "stream_options": {"include_obfuscation": False},
}
PIXELS = "data:image/png;base64,AAAA"


def key(fields: Mapping[str, Any], **more: Any) -> KeyedRequest:
    return keys.key({**BASE, **fields}, protocol=ApiProtocol.RESPONSES, **more)


def asked(*items: object, **fields: Any) -> KeyedRequest:
    return key({**fields, "input": list(items)})


def user(content: object, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **fields}


def text_part(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "input_text", "text": text, **fields}


def said(text: str, **fields: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part], **fields}


CALL = {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"word": "cache"}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "a store of answers"}


def test_every_field_of_the_openai_api_is_in_the_table() -> None:
    known = set(response_create_params.ResponseCreateParamsBase.__annotations__) | {"stream"}
    assert known - set(FIELDS) == set()


def test_the_examples_here_cover_the_table() -> None:
    assert set(OTHER_VALUES) == set(FIELDS)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_field_changes_the_keys_as_its_role_says(name: str) -> None:
    before, after = key({}), key({name: OTHER_VALUES[name]})
    role = FIELDS[name].role
    assert (before.exact_key != after.exact_key) == (role is not Role.IGNORED)
    if name != "input":
        assert (before.partition != after.partition) == (role in {Role.PARTITION, Role.END_USER})


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"input", "model"}))
def test_null_means_unset(name: str) -> None:
    unset = key({name: None})
    assert (unset.exact_key, unset.cacheability) == (key({}).exact_key, key({}).cacheability)


def test_an_end_user_in_the_metadata_keeps_requests_apart() -> None:
    assert key({"metadata": {"user_id": "u-1"}}).partition != key({"metadata": {"user_id": "u-2"}}).partition


def test_a_chat_of_the_same_text_has_other_keys() -> None:
    chat = keys.key({"model": BASE["model"], "messages": [user(BASE["input"])]})
    assert (chat.text, chat.exact_key != key({}).exact_key) == (key({}).text, True)
    assert chat.partition != key({}).partition


@pytest.mark.parametrize(
    "item",
    [
        user(BASE["input"]),
        user(BASE["input"], type="message"),
        user([text_part(BASE["input"])]),
        user([text_part(BASE["input"], prompt_cache_breakpoint={"mode": "explicit"})], type="message"),
    ],
)
def test_a_text_is_one_user_message_however_it_is_written(item: dict[str, Any]) -> None:
    whole, listed = key({}), asked(item)
    assert (listed.exact_key, listed.partition, listed.text) == (whole.exact_key, whole.partition, whole.text)
    assert listed.cacheability == whole.cacheability
    assert whole.cacheability.tier is Tier.SEMANTIC


def test_the_last_user_message_alone_is_compared() -> None:
    first, second = (asked(user("Hello"), said("Hi."), user(text)) for text in ("What is a cache?", "What's a cache?"))
    assert (first.text, first.partition) == ("What is a cache?", second.partition)
    assert first.exact_key != second.exact_key
    assert asked(user("Hello"), said("Ho."), user("What is a cache?")).partition != first.partition


APART = [
    [user([text_part("a b")])],
    [user([{"type": "text", "text": "a b"}])],
    [user([{"type": "other", "part": text_part("a b")}])],
    [user([{"type": "other", "part": {"type": "text", "text": "a b"}}])],
    [user([{"type": "output_text", "text": "a b"}])],
    [user([text_part("a b"), {"type": "input_image", "image_url": PIXELS}])],
    [user([text_part("a b"), {"type": "input_image", "file_id": "f"}])],
    [user("a b", status="completed")],
    [user("a b", item={"type": "function_call"})],
    [{"role": "developer", "content": "a b"}],
    [{"role": "assistant", "content": "a b"}],
    [{"role": "assistant", "content": [{"type": "output_text", "text": "a b"}]}],
    [{"role": "assistant", "content": [text_part("a b")]}],
    [{"role": "assistant", "content": None, "item": CALL}],
    [CALL],
    [RESULT],
    [{"type": "item_reference", "id": "msg_1"}],
    [{"id": "msg_2"}],
    [user("a b"), user("a b")],
    [user("")],
    [user([])],
    [user(None)],
]


def test_no_two_inputs_that_differ_to_a_provider_have_one_key() -> None:
    assert len({asked(*items).exact_key for items in APART}) == len(APART)
    assert len({asked(*items, said("x"), user("y")).partition for items in APART}) == len(APART)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PARTS = st.builds(lambda kind, text: {"type": kind, "text": text}, st.sampled_from(["input_text", "text", "a"]), TEXTS)
ITEMS = st.one_of(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "assistant", "developer"]),
        st.one_of(TEXTS, st.lists(PARTS, max_size=3)),
    ),
    st.builds(lambda output: {**RESULT, "output": output}, TEXTS),
    st.builds(lambda name: {"id": name}, TEXTS),
)


def plain_form(items: list[dict[str, Any]]) -> str:
    """The items as a provider reads them: a text is a list of one text part."""
    read = []
    for item in items:
        content = item.get("content")
        kind = "output_text" if item.get("role") == "assistant" else "input_text"
        read.append({**item, "content": [{"type": kind, "text": content}]} if isinstance(content, str) else item)
    return json.dumps(read, sort_keys=True)


@given(st.lists(ITEMS, min_size=1, max_size=3), st.lists(ITEMS, min_size=1, max_size=3))
def test_equal_keys_mean_equal_inputs(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    if asked(*one).exact_key == asked(*other).exact_key:
        assert plain_form(one) == plain_form(other)


def tools(*listed: object) -> dict[str, Any]:
    return {"tools": list(listed)}


FUNCTION = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}
IMAGE = user([text_part("What is on it?"), {"type": "input_image", "detail": "auto", "image_url": PIXELS}])
TIERS = [
    ({}, Tier.SEMANTIC, "cacheable"),
    (tools(FUNCTION), Tier.SEMANTIC, "cacheable"),
    (tools({"type": "custom", "name": "sql"}, {"type": "local_shell"}), Tier.SEMANTIC, "cacheable"),
    (tools({"type": "computer"}, {"type": "apply_patch"}, {"type": "tool_search"}), Tier.SEMANTIC, "cacheable"),
    (tools({"type": "namespace", "name": "n", "tools": [FUNCTION]}), Tier.SEMANTIC, "cacheable"),
    (tools({"type": "shell", "environment": {"type": "local"}}), Tier.SEMANTIC, "cacheable"),
    (tools({"type": "shell", "environment": {"type": "container_auto"}}), Tier.NONE, "server_tools"),
    (tools({"type": "shell"}), Tier.NONE, "server_tools"),
    (tools(FUNCTION, {"type": "file_search", "vector_store_ids": ["v"]}), Tier.NONE, "server_tools"),
    (tools({"type": "code_interpreter", "container": "c"}), Tier.NONE, "server_tools"),
    (tools({"type": "mcp", "server_label": "s"}), Tier.NONE, "server_tools"),
    (tools({"type": "image_generation"}), Tier.NONE, "server_tools"),
    (tools({"type": "programmatic_tool_calling"}), Tier.NONE, "server_tools"),
    (tools({"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}), Tier.NONE, "server_tools"),
    (tools({"type": "a_tool_to_come"}), Tier.NONE, "server_tools"),
    (tools({"name": "of no type"}), Tier.NONE, "server_tools"),
    (tools("code"), Tier.NONE, "server_tools"),
    (tools({"type": "web_search"}), Tier.NONE, "web_search"),
    (tools({"type": "web_search_preview_2025_03_11"}), Tier.NONE, "web_search"),
    ({"model": "o4-mini-deep-research"}, Tier.NONE, "web_search"),
    ({"tool_choice": "auto"}, Tier.SEMANTIC, "cacheable"),
    ({"tool_choice": "none"}, Tier.SEMANTIC, "cacheable"),
    ({"tool_choice": "required"}, Tier.NONE, "tool_calls"),
    ({"tool_choice": {"type": "function", "name": "look_up"}}, Tier.NONE, "tool_calls"),
    ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, Tier.SEMANTIC, "cacheable"),
    ({"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}}, Tier.NONE, "tool_calls"),
    ({"previous_response_id": "resp_1"}, Tier.EXACT, "continues_elsewhere"),
    ({"previous_response_id": ""}, Tier.SEMANTIC, "cacheable"),
    ({"conversation": "conv_1"}, Tier.NONE, "kept_elsewhere"),
    ({"conversation": {"id": "conv_1"}}, Tier.NONE, "kept_elsewhere"),
    ({"prompt": {"id": "pmpt_1", "version": "3"}}, Tier.NONE, "kept_elsewhere"),
    ({"background": True}, Tier.NONE, "background"),
    ({"background": False}, Tier.SEMANTIC, "cacheable"),
    ({"top_logprobs": 0}, Tier.SEMANTIC, "cacheable"),
    ({"top_logprobs": 2}, Tier.NONE, "logprobs"),
    ({"include": ["message.output_text.logprobs"]}, Tier.NONE, "logprobs"),
    ({"include": ["reasoning.encrypted_content"]}, Tier.SEMANTIC, "cacheable"),
    ({"moderation": {"model": "omni-moderation-latest"}}, Tier.EXACT, "moderation"),
    ({"temperature": 1.5}, Tier.NONE, "temperature"),
    ({"input": [user("Hello"), said("Hi."), user("What is a cache?")]}, Tier.SEMANTIC, "cacheable"),
    ({"input": [user("x"), CALL, RESULT]}, Tier.EXACT, "tool_calls"),
    ({"input": [user("x"), CALL, RESULT, said("y"), user("What is a cache?")]}, Tier.EXACT, "tool_calls"),
    (
        {"input": [{"type": "reasoning", "id": "r", "summary": []}, user("What is a cache?")]},
        Tier.SEMANTIC,
        "cacheable",
    ),
    ({"input": [{"type": "item_reference", "id": "i"}, user("What is it?")]}, Tier.EXACT, "continues_elsewhere"),
    ({"input": [{"type": "a_thing_to_come"}, user("What is a cache?")]}, Tier.NONE, "unknown_form"),
    (
        {"input": [{"type": "additional_tools", "role": "developer", "tools": [FUNCTION]}, user("What is a cache?")]},
        Tier.SEMANTIC,
        "cacheable",
    ),
    (
        {"input": [{"type": "additional_tools", "tools": [{"type": "mcp"}]}, user("What is a cache?")]},
        Tier.NONE,
        "server_tools",
    ),
    ({"input": [{"type": "mcp_approval_response", "approve": True}]}, Tier.NONE, "server_tools"),
    ({"input": [IMAGE]}, Tier.EXACT, "images"),
    ({"input": [IMAGE, said("A cat."), user("What is a cache?")]}, Tier.EXACT, "images"),
    ({"input": [user([text_part("Sum it up"), {"type": "input_file", "file_id": "f"}])]}, Tier.EXACT, "images"),
    ({"input": [user([{"type": "input_audio", "input_audio": {}}])]}, Tier.NONE, "not_text"),
    ({"input": [user([{"type": "text", "text": "What is a cache?"}])]}, Tier.NONE, "not_text"),
    ({"input": [user([{"type": "input_text", "text": 3}])]}, Tier.NONE, "unknown_form"),
    ({"input": [user([3])]}, Tier.NONE, "unknown_form"),
    ({"input": [user(3)]}, Tier.NONE, "unknown_form"),
    ({"input": [said("Hi.")]}, Tier.EXACT, "nothing_to_compare"),
    ({"input": ""}, Tier.EXACT, "nothing_to_compare"),
    ({"instructions": 3}, Tier.NONE, "unknown_form"),
    ({"max_output_tokens": "9"}, Tier.NONE, "unknown_form"),
    ({"include": "all"}, Tier.NONE, "unknown_form"),
    ({"input": "What's the weather in Paris?"}, Tier.NONE, "time_sensitive"),
    ({"input": "continue", "previous_response_id": "resp_1"}, Tier.NONE, "continuation"),
]


@pytest.mark.parametrize(("fields", "tier", "reason"), TIERS)
def test_the_tier_of_a_request(fields: dict[str, Any], tier: Tier, reason: str) -> None:
    cacheability = key(fields).cacheability
    assert (cacheability.tier, cacheability.reason) == (tier, reason)


def test_forced_calls_are_stored_where_a_setting_says_so() -> None:
    forced = key({"tool_choice": "required"}, by=keying(settings=CacheabilitySettings(store_tool_calls=True)))
    assert (forced.cacheability.tier, forced.cacheability.reason) == (Tier.EXACT, "tool_calls")


def literal_types(alias: object) -> set[str]:
    """The values of `type` that a union of the client's types has."""
    found: set[str] = set()
    for kind in get_args(alias):
        said_type = get_type_hints(kind, include_extras=False).get("type")
        found |= {value for value in _values(said_type) if isinstance(value, str)}
    return found


def _values(hint: object) -> set[object]:
    return {value for arg in get_args(hint) for value in (_values(arg) or {arg})}


def test_every_kind_of_item_and_tool_has_a_tier_that_was_chosen() -> None:
    unknown = {"compaction_trigger", "configuration_update"}  # What they change isn't known to semcache.
    for kind in literal_types(response_input_item_param.ResponseInputItemParam) - {"message"}:
        keyed = asked({"type": kind, "id": "i"}, user("What is a cache?"))
        assert (keyed.cacheability.reason == "unknown_form") == (kind in unknown), kind
    hosted = {
        "code_interpreter",
        "file_search",
        "image_generation",
        "mcp",
        "programmatic_tool_calling",
        "shell",
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    }
    for kind in literal_types(tool_param.ToolParam):
        keyed = key(tools({"type": kind, "tools": []}))
        assert (keyed.cacheability.tier is Tier.NONE) == (kind in hosted), kind


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"input": None}, "EMPTY_MESSAGES", "input"),
        ({"input": []}, "EMPTY_MESSAGES", "input"),
        ({"input": 3}, "INVALID_PARAMETER", "input"),
        ({"input": {"role": "user"}}, "INVALID_PARAMETER", "input"),
        ({"input": ["hello"]}, "INVALID_MESSAGE", None),
        ({"input": [{"content": "hello"}]}, "UNKNOWN_ROLE", None),
        ({"input": [{"type": "message", "id": "m", "content": "hello"}]}, "UNKNOWN_ROLE", None),
        ({"input": [{"role": "", "content": "hello"}]}, "UNKNOWN_ROLE", None),
        ({"model": None}, "NO_MODEL", None),
    ],
)
def test_what_has_no_meaning_is_refused(fields: dict[str, Any], reason: str, field: str | None) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        key(fields)
    assert (caught.value.reason, caught.value.metadata.get("field")) == (reason, field)


@pytest.mark.parametrize("name", ["prompt", "conversation", "previous_response_id"])
def test_the_input_may_stand_at_the_provider(name: str) -> None:
    keyed = key({"input": None, name: OTHER_VALUES[name]})
    assert keyed.text == ""
    assert keyed.cacheability.tier is not Tier.SEMANTIC


def test_all_that_a_model_reads_counts() -> None:
    items = (user([text_part("abc")]), {**CALL, "arguments": "de", "name": "f"}, {**RESULT, "output": "gh"}, IMAGE)
    assert asked(*items, instructions="ij").prompt_chars == len("abc" + "de" + "f" + "gh" + "What is on it?" + "ij")


def test_wishes() -> None:
    keyed = key({"max_output_tokens": 50, "stream_options": {"include_obfuscation": True}})
    assert (keyed.output_limit, keyed.include_usage, keyed.choices) == (50, True, 1)
