"""The demo's own prompts agree with their labels; a user's file is read, or refused with the line at fault."""

import json
import re
from collections import Counter

import pytest

from semcache.demo.prompts import answer_groups, load_prompts
from semcache.errors import InvalidRequestError
from semcache.request.repeatability import Message, Repeatability
from semcache.settings import CacheabilitySettings

REQUESTS = load_prompts()
BY_ID = {request.request_id: request for request in REQUESTS}
POSITIONS = {request.request_id: position for position, request in enumerate(REQUESTS)}


def of_kind(kind):
    return [request for request in REQUESTS if request.kind == kind]


def context(request):
    """Return what must be equal before two requests may be compared by meaning."""
    return request.model, request.messages[:-1]


def test_a_realistic_mix_of_many_topics():
    kinds = Counter(request.kind for request in REQUESTS)
    assert len(REQUESTS) >= 300
    assert len({request.topic for request in REQUESTS}) >= 80
    assert kinds.keys() == {"first", "repeat", "reworded", "trap", "conversation", "live"}
    assert min(kinds[kind] for kind in ("first", "repeat", "reworded", "trap")) >= 80
    assert sum(request.stream for request in REQUESTS) >= 30
    assert len({request.model for request in REQUESTS}) >= 3


def test_ids_are_unique_and_related_requests_share_a_topic_or_a_last_message():
    assert len(BY_ID) == len(REQUESTS)
    for request in REQUESTS:
        if request.of:
            original = BY_ID[request.of]
            assert request.topic == original.topic or request.asked == original.asked, request.request_id


def test_a_repeat_is_word_for_word_and_nothing_else_is():
    groups = answer_groups(REQUESTS)
    asked = {}
    for request in REQUESTS:
        if request.kind == "live":
            continue
        same = asked.setdefault((request.model, json.dumps(request.messages)), request)
        if same is not request:
            assert request.kind == "repeat", request.request_id
            assert groups[request.request_id] == groups[same.request_id], request.request_id
        else:
            assert request.kind != "repeat", request.request_id


@pytest.mark.parametrize("kind", ["reworded", "trap"])
def test_rewordings_and_traps_differ_from_what_they_name_in_the_last_message_alone(kind):
    for request in of_kind(kind):
        original = BY_ID[request.of]
        assert context(request) == context(original), request.request_id
        assert request.asked != original.asked, request.request_id


def test_only_what_has_another_answer_says_in_what_it_differs():
    known = {"number", "negation", "direction", "entity", "conversation", "other"}
    for request in REQUESTS:
        if request.kind == "live":
            continue
        assert (request.differs_in in known) == (request.same_answer is False), request.request_id
    found = Counter(request.differs_in for request in of_kind("trap"))
    assert min(found[what] for what in ("number", "negation", "direction", "entity")) >= 10


def test_number_traps_hold_other_numbers():
    def numbers(text):
        words = "one|two|three|four|five|six|seven|eight|nine|ten|second|third"
        return re.findall(rf"\d+(?:[.,]\d+)*|\b(?:{words})\b", text)

    for request in of_kind("trap"):
        if request.differs_in == "number":
            assert numbers(request.asked) != numbers(BY_ID[request.of].asked), request.request_id


def test_conversations_with_one_last_message_differ_in_what_came_before():
    pairs = [(request, BY_ID[request.of]) for request in of_kind("conversation") if request.of]
    assert len(pairs) >= 8
    for request, other in pairs:
        assert request.asked == other.asked
        assert request.messages[0] == other.messages[0]  # the system prompt
        assert request.messages != other.messages
    assert all(m["role"] == "user" for request in REQUESTS for m in request.messages[-1:])


def test_exactly_the_live_requests_are_of_the_moment():
    repeatability = Repeatability(CacheabilitySettings())
    matched = {
        request.request_id
        for request in REQUESTS
        if repeatability.class_of(Message(request.asked, (), begins=len(request.messages) == 1))
    }
    assert matched == {request.request_id for request in of_kind("live")}


def test_what_should_be_found_was_asked_some_time_before_and_some_repeats_come_at_once():
    distances = [
        POSITIONS[request.request_id] - POSITIONS[request.of] for request in REQUESTS if request.same_answer is not None
    ]
    assert min(distances) >= 1
    for request in (*of_kind("reworded"), *of_kind("trap")):
        assert POSITIONS[request.request_id] - POSITIONS[request.of] >= 16, request.request_id
    assert sum(distance < 4 for distance in distances) >= 8


def test_groups_follow_same_answer_from_request_to_request():
    groups = answer_groups(REQUESTS)
    assert groups["celsius-trap-1-again-1"] == "celsius-trap-1"
    assert groups["celsius-again-1"] == "celsius"
    assert groups["live-weather-again-1"] == "live-weather-again-1"


def test_the_body_is_openai_json():
    streamed = next(request for request in REQUESTS if request.stream)
    assert json.loads(streamed.body)["stream"] is True
    plain = BY_ID["capital-australia"]
    assert json.loads(plain.body) == {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "What is the capital of Australia?"}],
    }


def test_a_users_file_may_mix_prompts_and_objects(tmp_path):
    path = tmp_path / "mine.txt"
    lines = [
        "What is a cache?",
        "",
        '{"id": "a", "kind": "first", "prompt": "Hello", "model": "my-model", "system": "Be brief."}',
        '{"prompt": "Hello!", "of": "a", "same_answer": true, "stream": true}',
        '{"messages": [{"role": "user", "content": "Hi"}], "of": "a", "same_answer": false}',
    ]
    path.write_text("\n".join(lines), "utf-8")
    plain, first, reworded, trap = load_prompts(path)
    assert (plain.request_id, plain.kind, plain.asked, plain.model) == (
        "line-1",
        "unlabelled",
        "What is a cache?",
        "gpt-4o-mini",
    )
    assert [message["role"] for message in first.messages] == ["system", "user"]
    assert first.model == "my-model"
    assert (reworded.kind, reworded.request_id, reworded.stream) == ("reworded", "line-4", True)
    assert (trap.kind, trap.same_answer) == ("trap", False)
    assert answer_groups((plain, first, reworded, trap)) == {"a": "a", "line-4": "a", "line-5": "line-5"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no prompts"),
        ("{not json", ":1 is not JSON"),
        ('ok\n{"prompt": "x", "colour": 1}', ":2 has the unknown field 'colour'"),
        ('{"id": "a"}', "either a prompt or messages"),
        ('{"prompt": "a", "messages": []}', "either a prompt or messages"),
        ('{"prompt": "  "}', "empty prompt"),
        ('{"prompt": 3}', "prompt must be a string"),
        ('{"messages": [{"role": "user"}]}', "messages must be a list"),
        ('{"messages": []}', "messages must be a list"),
        ('{"prompt": "a", "kind": "odd"}', "unknown kind 'odd'"),
        ('{"prompt": "a", "kind": "repeat"}', "a repeat can't have"),
        ('{"prompt": "a", "of": "b"}', "go together"),
        ('{"prompt": "a", "stream": "yes"}', "stream must be true or false"),
        ('{"prompt": "a", "model": "two words"}', "can't be a model's name"),
        ('{"prompt": "a", "of": "later", "same_answer": true}', "no earlier line"),
        ('{"id": "a", "prompt": "a"}\n{"id": "a", "prompt": "b"}', "'a' twice"),
        ('{"id": "a", "prompt": "a"}\n{"prompt": "b", "of": "a", "same_answer": true}', "has no kind"),
        (
            (
                '{"id": "a", "kind": "first", "prompt": "a"}\n'
                '{"kind": "trap", "prompt": "b", "of": "a", "same_answer": true}'
            ),
            "a trap can't have",
        ),
    ],
)
def test_a_users_file_that_is_wrong_is_refused_with_its_place(tmp_path, text, words):
    path = tmp_path / "mine.jsonl"
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidRequestError) as caught:
        load_prompts(path)
    assert caught.value.reason == "BAD_PROMPTS"
    assert words in caught.value.message
    assert "mine.jsonl" in caught.value.message


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InvalidRequestError, match="No such file"):
        load_prompts(tmp_path / "absent")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequestError, match="not UTF-8"):
        load_prompts(binary)
