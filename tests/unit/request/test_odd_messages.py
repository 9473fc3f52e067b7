"""Messages that upstreams take and OpenAI's reference doesn't name: keyed, or forwarded without the cache."""

import json
from typing import Any

import pytest

from semcache.errors import InvalidRequestError
from semcache.model import KeyedRequest, Tier
from tests.unit.request.keys import BASE, key

USER = {"role": "user", "content": "Where is my order?"}


def messages(*turns: dict[str, Any], **fields: Any) -> KeyedRequest:
    return key({"model": "m", "messages": list(turns), **fields})


@pytest.mark.parametrize(
    "role",
    ["system", "developer", "observation", "ipython", "control", "document", "human", "gpt", "User", "king", "名前"],
)
def test_any_role_may_stand_in_the_history(role: str) -> None:
    keyed = messages({"role": role, "content": "Hello."}, USER)
    assert (keyed.cacheability.tier, keyed.text) == (Tier.SEMANTIC, USER["content"])
    assert keyed.partition != messages({"role": role + "2", "content": "Hello."}, USER).partition
    assert keyed.partition != messages({"role": role, "content": "Hello!"}, USER).partition


@pytest.mark.parametrize("role", ["observation", "ipython", "human", "assistant", "developer"])
def test_a_conversation_that_doesnt_end_with_the_user_has_exact_hits_alone(role: str) -> None:
    keyed = messages(USER, {"role": role, "content": "Rain."})
    assert (keyed.cacheability.tier, keyed.cacheability.reason) == (Tier.EXACT, "nothing_to_compare")
    assert keyed.exact_key != messages(USER, {"role": role, "content": "Sun."}).exact_key


@pytest.mark.parametrize(
    "empty",
    [
        {"role": "user", "content": ""},
        {"role": "user", "content": " \n"},
        {"role": "user", "content": None},
        {"role": "user"},
        {"role": "user", "content": []},
        {"role": "user", "content": [{"type": "text", "text": ""}]},
        {"role": "system", "content": None},
        {"role": "assistant", "content": ""},
    ],
)
def test_an_empty_turn_is_a_turn(empty: dict[str, Any]) -> None:
    in_history = messages(empty, {"role": "assistant", "content": "Hi"}, USER)
    assert in_history.cacheability.tier is Tier.SEMANTIC
    assert in_history.partition != messages({"role": "assistant", "content": "Hi"}, USER).partition
    at_the_end = messages(USER, {"role": "assistant", "content": "Hi"}, empty)
    assert (at_the_end.cacheability.tier, at_the_end.cacheability.reason) == (Tier.EXACT, "nothing_to_compare")


@pytest.mark.parametrize(
    "content",
    [
        5,
        True,
        {"text": "hi"},
        {"type": "text", "text": "hi"},
        ["hi"],
        [5],
        [None],
        [{"text": "hi"}],
        [{"type": "text"}],
        [{"type": ["text"], "text": "hi"}],
        [{"type": "text", "text": 5}],
        [{"type": "text", "text": "hi"}, "there"],
    ],
)
@pytest.mark.parametrize("role", ["user", "assistant", "tool", "king"])
def test_a_content_of_another_form_is_forwarded_and_not_cached(content: Any, role: str) -> None:
    odd = {"role": role, "content": content}
    for turns in ([odd], [odd, USER], [USER, odd]):
        keyed = messages(*turns)
        assert (keyed.cacheability.tier, keyed.cacheability.reason) == (Tier.NONE, "unknown_form")
        assert keyed.prompt_chars > 0
    assert messages(odd).exact_key != messages({"role": role, "content": [content]}).exact_key


def test_a_long_content_of_another_form_is_refused_too() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        messages({"role": "user", "content": {"text": "x" * 1_000_001}})
    assert caught.value.reason == "PROMPT_TOO_LONG"


def test_a_byte_order_mark_has_no_meaning() -> None:
    body = json.dumps(BASE).encode()
    assert key(b"\xef\xbb\xbf" + body).exact_key == key(body).exact_key


@pytest.mark.parametrize("value", [{"a": 1}, {"a": 1, "b": None}, [None], "x", 1, 1.5, True, "1", "true", 2**70])
def test_every_other_value_of_an_unknown_field_is_another_request(value: Any) -> None:
    others = [{"a": 2}, {"a": 1, "b": 0}, [], "y", 2, 1.25, False, "2", "True", 2**70 + 1]
    keys = {key({**BASE, "new_knob": other}).exact_key for other in others}
    assert key({**BASE, "new_knob": value}).exact_key not in keys


def test_what_stands_beside_a_text_in_its_part_keeps_requests_apart() -> None:
    def part(**fields: Any) -> KeyedRequest:
        return messages({"role": "user", "content": [{"type": "text", "text": "Hi there", **fields}]})

    assert part(lang="de").partition != part().partition
    assert part(lang="de").partition != part(lang="fr").partition
    assert part(lang="de").exact_key != part(lang="fr").exact_key
    # It is about the provider's prompt cache, and says nothing about the answer.
    assert part(cache_control={"type": "ephemeral"}).exact_key == part().exact_key


@pytest.mark.parametrize(
    ("turns", "tier", "reason"),
    [
        ([{"role": "human", "content": "Where is my order?"}], Tier.EXACT, "nothing_to_compare"),
        (
            [{"role": "user", "content": ""}, {"role": "assistant", "content": "Hi"}, USER],
            Tier.SEMANTIC,
            "cacheable",
        ),
        (
            [
                {"role": "user", "content": "weather in Oslo?"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "w", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "1", "content": "rain"},
                {"role": "user", "content": "How large is Rome?"},
            ],
            Tier.EXACT,
            "tool_calls",
        ),
        ([{"role": "user", "content": [{"type": "text", "text": "Where is my order?"}]}], Tier.SEMANTIC, "cacheable"),
    ],
)
def test_conversations_as_users_have_them(turns: list[dict[str, Any]], tier: Tier, reason: str) -> None:
    keyed = messages(*turns)
    assert (keyed.cacheability.tier, keyed.cacheability.reason) == (tier, reason)
