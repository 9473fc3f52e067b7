"""Anthropic's messages: the table of fields is complete, and each field affects the keys as its role says."""

import pytest
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_message_create_params

from semcache.errors import InvalidRequestError
from semcache.model import ApiProtocol, Tier
from semcache.request.fields import Role
from semcache.request.forms.messages import FIELDS
from tests.unit.request.keys import key, keying

HEADERS = (("anthropic-version", "2023-06-01"),)
BASE = {
    "model": "claude",
    "max_tokens": 100,
    "system": "You are terse.",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
}
OTHER_VALUES = {
    "messages": [{"role": "user", "content": "What is the capital of Spain?"}],
    "model": "claude-large",
    "system": "You are verbose.",
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "none"},
    "output_config": {"effort": "low"},
    "output_format": {"type": "json_schema", "schema": {}},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "context_management": {"edits": []},
    "compaction": {"type": "enabled"},
    "fallbacks": [{"model": "claude-other"}],
    "thread": {"type": "create"},
    "billing_policy": {"type": "billing_policy", "bill_to": "self"},
    "fallback_credit_token": "token",
    "diagnostics": {"previous_message_id": "msg_0"},
    "mcp_servers": [{"type": "url", "url": "https://mcp.example", "name": "m"}],
    "container": "container_1",
    "max_tokens": 7,
    "stop_sequences": ["\n"],
    "temperature": 0.5,
    "top_k": 5,
    "top_p": 0.5,
    "speed": "fast",
    "inference_geo": "us",
    "user_profile_id": "u-1",
    "metadata": {"trace": "b"},
    "service_tier": "standard_only",
    "cache_control": {"type": "ephemeral"},
    "stream": True,
}
IN_HEADERS = {"betas", "user_profile_id", "workspace_id"}
"""Parameters of the client that travel in headers."""


def keyed(body, **request):
    return key(body, protocol=ApiProtocol.MESSAGES, headers=HEADERS, **request)


def asking(*content, **fields):
    return {**BASE, "messages": [{"role": "user", "content": list(content)}], **fields}


def text(words="What is the capital of France?", **fields):
    return {"type": "text", "text": words, **fields}


def tier(body):
    cacheability = keyed(body).cacheability
    return cacheability.tier, cacheability.reason


@pytest.mark.parametrize("params", [message_create_params, beta_message_create_params], ids=["stable", "beta"])
def test_every_field_of_anthropics_api_is_in_the_table(params):
    known = set(params.MessageCreateParamsBase.__annotations__) | {"stream"}
    assert known - IN_HEADERS - set(FIELDS) == set()


def test_the_examples_here_cover_the_table():
    assert set(OTHER_VALUES) == set(FIELDS)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_field_changes_the_keys_as_its_role_says(name):
    before, after = keyed(BASE), keyed({**BASE, name: OTHER_VALUES[name]})
    role = FIELDS[name].role
    assert (before.exact_key != after.exact_key) == (role is not Role.IGNORED)
    assert (before.partition != after.partition) == (role in {Role.PARTITION, Role.END_USER})


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"messages", "model"}))
def test_null_means_unset(name):
    without = {field: value for field, value in BASE.items() if field != name}
    assert keyed({**BASE, name: None}).exact_key == keyed(without).exact_key


def test_an_unknown_field_keeps_requests_apart():
    assert keyed({**BASE, "new_knob": 1}).partition != keyed(BASE).partition


def test_a_chat_of_the_same_words_has_other_keys():
    body = {"model": "m", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    chat, message = key(body), keyed(body)
    assert chat.text == message.text
    assert chat.exact_key != message.exact_key
    assert chat.partition != message.partition


@pytest.mark.parametrize(
    "headers", [(), (*HEADERS, ("anthropic-beta", "context-1m-2025-08-07"))], ids=["none", "a beta"]
)
def test_headers_are_part_of_the_keys(headers):
    other = key(BASE, protocol=ApiProtocol.MESSAGES, headers=headers)
    assert other.partition != keyed(BASE).partition
    assert other.exact_key != keyed(BASE).exact_key


@pytest.mark.parametrize("per_end_user", [True, False])
def test_the_end_user_in_the_metadata_is_heeded_where_it_should_be(per_end_user):
    by = keying(per_end_user=per_end_user)
    one, other = (keyed({**BASE, "metadata": {"user_id": user}}, by=by) for user in ("u-1", "u-2"))
    assert (one.partition != other.partition) is per_end_user


CACHE = {"type": "ephemeral"}
TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {"cache_control": {"type": "string"}}}}
TURNS = [
    {"role": "user", "content": [text("Look it up.")]},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": None}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [text("42")]}]},
]
SAME = {
    "one block of text is its text": (asking(text()), BASE),
    "of the system too": ({**BASE, "system": [text("You are terse.")]}, BASE),
    "cache marks on a text": (asking(text(cache_control=CACHE)), BASE),
    "cache marks on the system": ({**BASE, "system": [text("You are terse.", cache_control=CACHE)]}, BASE),
    "cache marks on a tool": ({**BASE, "tools": [{**TOOL, "cache_control": CACHE}]}, {**BASE, "tools": [TOOL]}),
    "cache marks on calls and results": (
        {
            **BASE,
            "messages": [
                TURNS[0],
                {"role": "assistant", "content": [{**TURNS[1]["content"][0], "cache_control": CACHE}]},
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t",
                            "content": [text("42", cache_control=CACHE)],
                            "cache_control": CACHE,
                        }
                    ],
                },
            ],
        },
        {**BASE, "messages": TURNS},
    ),
    "null fields of a block": (asking(text(citations=None)), BASE),
}
APART = {
    "two blocks of the system": ({**BASE, "system": [text("You are"), text("terse.")]}, BASE),
    "a property that is called so": (
        {**BASE, "tools": [TOOL]},
        {**BASE, "tools": [{**TOOL, "input_schema": {"type": "object", "properties": {}}}]},
    ),
    "an input's null": (
        {**BASE, "messages": TURNS},
        {
            **BASE,
            "messages": [
                TURNS[0],
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
                TURNS[2],
            ],
        },
    ),
    "the order of a schema's properties": (
        {**BASE, "output_config": {"format": {"schema": {"properties": {"a": {}, "b": {}}}}}},
        {**BASE, "output_config": {"format": {"schema": {"properties": {"b": {}, "a": {}}}}}},
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_what_means_the_same_has_the_same_keys(case):
    one, other = map(keyed, SAME[case])
    assert (one.exact_key, one.partition, one.text) == (other.exact_key, other.partition, other.text)


@pytest.mark.parametrize("case", APART)
def test_what_differs_has_other_keys(case):
    one, other = map(keyed, APART[case])
    assert one.exact_key != other.exact_key


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A text."}}
CALLING = {"tools": [TOOL]}
TIERS = [
    (BASE, Tier.SEMANTIC, "cacheable"),
    (asking(text("What is"), text("the capital of France?")), Tier.SEMANTIC, "cacheable"),
    ({**BASE, "thinking": {"type": "enabled", "budget_tokens": 2048}}, Tier.SEMANTIC, "cacheable"),
    ({**BASE, **CALLING}, Tier.SEMANTIC, "cacheable"),
    ({**BASE, **CALLING, "tool_choice": {"type": "auto"}}, Tier.SEMANTIC, "cacheable"),
    ({**BASE, **CALLING, "tool_choice": {"type": "none"}}, Tier.SEMANTIC, "cacheable"),
    ({**BASE, **CALLING, "tool_choice": {"type": "any"}}, Tier.NONE, "tool_calls"),
    ({**BASE, **CALLING, "tool_choice": {"type": "tool", "name": "f"}}, Tier.NONE, "tool_calls"),
    ({**BASE, "tools": [{"type": "custom", "name": "web_search", "input_schema": {}}]}, Tier.SEMANTIC, "cacheable"),
    ({**BASE, "tools": [{"name": "web_search", "input_schema": {}}]}, Tier.SEMANTIC, "cacheable"),
    ({**BASE, "tools": [{"type": "bash_20250124", "name": "bash"}]}, Tier.SEMANTIC, "cacheable"),
    ({**BASE, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}, Tier.NONE, "web_search"),
    ({**BASE, "tools": [TOOL, {"type": "web_fetch_20250910", "name": "web_fetch"}]}, Tier.NONE, "web_search"),
    ({**BASE, "tools": [{"type": "code_execution_20250825", "name": "x"}]}, Tier.NONE, "server_tools"),
    ({**BASE, "tools": [{"type": "of_the_future_20990101", "name": "x"}]}, Tier.NONE, "server_tools"),
    ({**BASE, "mcp_servers": [{"type": "url", "url": "https://m.example"}]}, Tier.NONE, "server_tools"),
    ({**BASE, "mcp_servers": []}, Tier.SEMANTIC, "cacheable"),
    ({**BASE, "container": "container_1"}, Tier.NONE, "kept_elsewhere"),
    ({**BASE, "thread": {"type": "create"}}, Tier.NONE, "kept_elsewhere"),
    ({**BASE, "fallbacks": "default"}, Tier.SEMANTIC, "cacheable"),
    (asking(text(), {"type": "container_upload", "file_id": "f"}), Tier.NONE, "kept_elsewhere"),
    (asking(text(), {"type": "server_tool_use", "id": "s", "name": "x", "input": {}}), Tier.NONE, "server_tools"),
    (asking(text(), {"type": "mcp_tool_result", "content": []}), Tier.NONE, "server_tools"),
    (asking(text(), {"type": "of_the_future"}), Tier.NONE, "not_text"),
    (asking(text(), IMAGE), Tier.EXACT, "images"),
    (asking(text(), DOCUMENT), Tier.EXACT, "images"),
    ({**BASE, "messages": TURNS}, Tier.EXACT, "tool_calls"),
    ({**BASE, "messages": [*TURNS, {"role": "user", "content": "And now?"}]}, Tier.EXACT, "tool_calls"),
    ({**BASE, "messages": [*BASE["messages"], {"role": "assistant", "content": "It is ("}]}, Tier.EXACT, None),
    ({**BASE, "temperature": 1.5}, Tier.NONE, "temperature"),
    ({**BASE, "temperature": 0.0}, Tier.SEMANTIC, "cacheable"),
]


@pytest.mark.parametrize(("body", "expected", "reason"), TIERS, ids=lambda value: str(value)[-60:])
def test_the_tiers(body, expected, reason):
    found, why = tier(body)
    assert found is expected
    assert reason in {None, why}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("system", 3),
        ("system", [{"type": "image"}]),
        ("system", ["terse"]),
        ("system", [{"type": "text", "text": 3}]),
        ("tools", {}),
        ("tools", ["f"]),
        ("tool_choice", "auto"),
        ("thinking", "on"),
        ("stop_sequences", "x"),
        ("max_tokens", "9"),
        ("temperature", "warm"),
        ("mcp_servers", {}),
        ("container", 3),
        ("messages", [{"role": "user", "content": ["words"]}]),
        ("messages", [{"role": "user", "content": {"type": "text", "text": "words"}}]),
        ("messages", [{"role": "user", "content": [{"type": "text", "text": 3}]}]),
    ],
)
def test_a_value_of_a_type_without_a_known_meaning_is_forwarded_and_not_cached(name, value):
    assert tier({**BASE, name: value}) == (Tier.NONE, "unknown_form")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"messages": "hello"}, "INVALID_PARAMETER"), ({"messages": []}, "EMPTY_MESSAGES"), ({"model": ""}, "NO_MODEL")],
)
def test_without_messages_and_a_model_there_is_no_request(fields, reason):
    with pytest.raises(InvalidRequestError) as caught:
        keyed({**BASE, **fields})
    assert caught.value.reason == reason


def test_the_limit_of_tokens_is_read_and_may_be_missing():
    assert keyed(BASE).output_limit == 100
    assert keyed({name: value for name, value in BASE.items() if name != "max_tokens"}).output_limit is None


def test_what_a_model_reads_is_counted():
    body = {**BASE, "system": [text("12345")], "messages": TURNS}
    assert keyed(body).prompt_chars == len("12345") + len("Look it up.") + len("42")


def test_a_followers_class_is_found_in_messages_too():
    assert tier(asking(text("What is the weather in Paris today?"))) == (Tier.NONE, "time_sensitive")
