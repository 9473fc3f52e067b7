"""Responses are read, taken out of streams, replayed; what came of broken ones is priced."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent, response_error
from pydantic import TypeAdapter

from semcache.errors import UpstreamError, UpstreamRefusedError
from semcache.model import Finish, LostAnswer, Usage, finish_of
from semcache.protocols.lost import ReceivedBody
from semcache.protocols.responses import FORM
from semcache.protocols.responses.reading import OF_THE_REQUEST
from semcache.testing.responses import in_pieces, response_body

USAGE = Usage(100, 64, 7)
CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "cache"}'}}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def body_of(*output: Any, **fields: Any) -> bytes:
    return json.dumps({**json.loads(response_body("", usage=USAGE)), "output": list(output), **fields}).encode()


def message(*parts: Any, **fields: Any) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": parts, **fields}


def text(words: str, **fields: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": words, "annotations": [], **fields}


def events_of(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(event) for event in FORM.replay(body).chunks(include_usage=True)]


def assembled(events: Iterable[Any]) -> Any:
    assembler = FORM.assembler()
    for event in events:
        assembler.add(event if isinstance(event, bytes) else json.dumps(event).encode())
    return assembler


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "sequence_number": 0, **fields}


REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Hm."}, {"type": "summary_text", "text": "Yes, so it is."}],
    "content": [{"type": "reasoning_text", "text": "At length."}],
    "encrypted_content": "AAAA",
}
CITATION = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
LOGPROB = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
ITEMS = [
    REASONING,
    message(text("A cache keeps answers, so that a second question costs nothing at all. " * 3), phase="final_answer"),
    message(text("one ", logprobs=[LOGPROB]), text("two", annotations=[CITATION, CITATION])),
    message({"type": "refusal", "refusal": "I can't help with that."}),
    message(),
    message(text("")),
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c1",
        "name": "f",
        "arguments": '{"a": 1}',
        "status": "completed",
    },
    {"type": "custom_tool_call", "id": "ct_1", "call_id": "c2", "name": "sql", "input": "select 1"},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "cache"}},
    {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "code": "1 + 1", "container_id": "k"},
    {"type": "mcp_call", "id": "mc_1", "name": "f", "server_label": "s", "arguments": "{}", "output": "x"},
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AAAA"},
]


def test_a_response_is_read_and_kept_as_it_is() -> None:
    body = response_body("Hi.", model="m-2", usage=USAGE)
    answer = FORM.read(body, target_model="m")
    assert (answer.body, answer.text, answer.model, answer.target_model) == (body, "Hi.", "m-2", "m")
    assert (answer.usage, answer.finish_reason, answer.tool_calls) == (USAGE, "completed", False)


def test_the_usage_has_all_its_counts() -> None:
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 20},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 30},
        "total_tokens": 150,
    }
    read = FORM.read(body_of(message(text("Hi.")), usage=usage, service_tier="flex")).usage
    assert read == Usage(100, 64, 50, cache_write_tokens=20, service_tier="flex")


def test_the_providers_own_tools_are_parts_of_the_usage() -> None:
    search = ITEMS[8]
    opened = {**search, "action": {"type": "open_page", "url": "u"}}
    found = {"type": "file_search_call", "id": "f", "queries": ["a"]}
    read = FORM.read(body_of(search, search, opened, found, ITEMS[9], message(text("Hi."))))
    assert read.usage.parts == (("code_executions", 1), ("storage_searches", 1), ("web_searches", 2))
    told = FORM.read(body_of(search, message(text("Hi.")), tool_usage={"web_search": {"num_requests": 5}}))
    assert told.usage.parts == (("web_searches", 5),)
    assert not told.usage.estimated
    assert FORM.read(body_of(ITEMS[11])).usage.estimated


@pytest.mark.parametrize(
    ("fields", "reason", "finish"),
    [
        ({"status": "completed"}, "completed", Finish.STOP),
        ({"status": None}, "", Finish.UNSAID),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "max_output_tokens",
            Finish.LENGTH,
        ),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            "content_filter",
            Finish.FILTERED,
        ),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, "steered", Finish.CUT_OFF),
        ({"status": "incomplete", "incomplete_details": None}, "incomplete", Finish.CUT_OFF),
        ({"status": "cancelled"}, "cancelled", Finish.CUT_OFF),
        ({"status": "queued"}, "queued", Finish.CUT_OFF),
        ({"status": "in_progress"}, "in_progress", Finish.CUT_OFF),
    ],
)
def test_the_status_says_why_it_ended(fields: dict[str, Any], reason: str, finish: Finish) -> None:
    answer = FORM.read(body_of(message(text("Hi.")), **fields))
    assert (answer.finish_reason, finish_of(answer.finish_reason)) == (reason, finish)


@pytest.mark.parametrize(
    ("items", "words", "calls"),
    [
        (ITEMS[:1], "", False),
        (ITEMS[1:3], ITEMS[1]["content"][0]["text"] + "one two", False),
        (ITEMS[3:6], "", False),
        (ITEMS[6:7], "", True),
        (ITEMS[7:8], "", True),
        ([{"type": "computer_call"}], "", True),
        ([{"type": "mcp_approval_request"}], "", True),
        ([3, {}, {"type": 3}, {"type": "message", "content": 3}], "", False),
    ],
)
def test_text_and_calls_are_found_among_the_items(items: list[Any], words: str, calls: bool) -> None:
    answer = FORM.read(body_of(*items))
    assert (answer.text, answer.tool_calls) == (words, calls)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"output": "Hi."}', b'{"output": {}}', b'{"output": NaN}'],
)
def test_what_is_no_response_is_refused(body: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        FORM.read(body)
    assert caught.value.http_status == 200


def failed(code: str | None) -> dict[str, Any]:
    error = None if code is None else {"code": code, "message": "It burns."}
    return json.loads(body_of(status="failed", error=error))


def statuses(code: str) -> list[int | None]:
    """The status of a failed response and of an error event with this code."""
    told = []
    raising = (
        lambda: FORM.read(json.dumps(failed(code)).encode()),
        lambda: assembled([event("response.failed", response=failed(code))]),
        lambda: assembled([event("error", code=code, message="It burns.", param=None)]),
        lambda: assembled([event("error", error={"code": code, "message": "It burns."})]),
    )
    for raises in raising:
        with pytest.raises(UpstreamError, match=r"It burns\.") as caught:
            raises()
        told.append(caught.value.http_status)
        assert isinstance(caught.value, UpstreamRefusedError) == (caught.value.http_status != 200)
        if caught.value.http_status != 200:
            assert json.loads(caught.value.body)["error"]["code"] == code
    return told


CODES = frozenset(get_args(response_error.ResponseError.model_fields["code"].annotation))


@pytest.mark.parametrize("code", sorted(CODES | {"a_code_to_come"}))
def test_an_error_is_blamed_on_whoever_made_it(code: str) -> None:
    status = 400 if code in OF_THE_REQUEST else 429 if code == "rate_limit_exceeded" else 200
    assert statuses(code) == [status] * 4


def test_every_code_of_the_api_was_looked_at() -> None:
    of_others = {"rate_limit_exceeded", "server_error", "vector_store_timeout"}
    assert of_others | OF_THE_REQUEST == CODES


@pytest.mark.parametrize(
    "last",
    [
        event("response.failed", response=failed(None)),
        event("response.cancelled", response={"status": "cancelled", "output": []}),
        event("response.completed"),
        event("response.completed", response=[]),
        event("response.completed", response={"output": "Hi."}),
        event("response.completed", response=failed("server_error")),
        {"response": {"output": []}},
        {"type": 3},
        {"choices": []},
        b"[DONE",
        b"3",
    ],
)
def test_a_stream_that_ends_wrongly_is_refused(last: Any) -> None:
    with pytest.raises(UpstreamError):
        assembled([*events_of(response_body("Hi."))[:-1], last])


bodies = st.builds(
    lambda items, status, usage, more: body_of(*items, status=status, usage=usage, **more),
    st.lists(st.sampled_from(ITEMS), max_size=4),
    st.sampled_from(["completed", "incomplete"]),
    st.sampled_from([None, {"input_tokens": 3, "output_tokens": 2}]),
    st.dictionaries(
        st.sampled_from(["user", "a", "completed_at"]), st.sampled_from([None, 1, "\u2028", "\ud83d", 0.1])
    ),
)


@given(bodies)
def test_a_replay_gives_back_the_response(body: bytes) -> None:
    replayed = list(FORM.replay(body).chunks(include_usage=False))
    assembler = assembled(replayed)
    assert assembler.is_complete
    assert assembler.is_over
    assert assembler.flaw == ""
    assert json.loads(assembler.whole()) == json.loads(body)
    assert replayed[-1].endswith(b'"response":' + body + b"}")
    again, first = FORM.read(assembler.whole()), FORM.read(body)
    assert (again.text, again.usage, again.finish_reason) == (first.text, first.usage, first.finish_reason)


@given(bodies)
def test_the_numbers_and_names_of_a_replay_are_in_order(body: bytes) -> None:
    events = events_of(body)
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    assert [each["type"] for each in events[:2]] == ["response.created", "response.in_progress"]
    output = json.loads(body)["output"]
    for index, item in enumerate(output):
        own = [each for each in events if each.get("output_index") == index]
        assert (own[0]["type"], own[-1]["type"]) == ("response.output_item.added", "response.output_item.done")
        assert own[-1]["item"] == item
        assert {each["item_id"] for each in own[1:-1]} <= {item["id"]}
    assert [each["output_index"] for each in events[2:-1]] == sorted(each["output_index"] for each in events[2:-1])


@given(st.lists(st.sampled_from(ITEMS), max_size=6, unique_by=lambda item: item["type"] + str(item.get("content"))))
def test_openais_client_takes_a_replay(items: list[Any]) -> None:
    # The client refuses two items of one id.
    body = body_of(*({**item, "id": f"{item['id']}_{number}"} for number, item in enumerate(items)))
    state = ResponseStreamState(input_tools=[], text_format=omit)
    for each in events_of(body):
        state.handle_event(EVENT.validate_python(each))
    assert state._completed_response is not None
    assert state._completed_response.output_text == Response.model_validate_json(body).output_text


def test_a_replayed_text_comes_in_pieces_before_it_is_whole() -> None:
    words = "A cache keeps what was answered before. " * 40
    body = response_body(words)
    kinds = [each["type"] for each in events_of(body)]
    deltas = [each["delta"] for each in events_of(body) if each["type"] == "response.output_text.delta"]
    assert 10 < len(deltas) <= 65
    assert "".join(deltas) == words
    assert kinds[2:4] == ["response.output_item.added", "response.content_part.added"]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    added, part = (each for each in events_of(body)[2:4])
    assert (added["item"]["content"], added["item"]["status"]) == ([], "in_progress")
    assert part["part"] == {"type": "output_text", "text": "", "annotations": [], "logprobs": []}


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_to_come_is_replayed_as_such(status: str) -> None:
    assert events_of(response_body("", finish_reason=status))[-1]["type"] == f"response.{status}"


def test_an_item_without_an_id_has_the_same_one_in_all_its_events() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    own = [each for each in events_of(body_of(call)) if "item_id" in each]
    assert len(own) == 2
    assert len({each["item_id"] for each in own}) == 1


LIVE = events_of(response_body("one two three", usage=USAGE))


@pytest.mark.parametrize(
    "pieces", [("one two three",), ("one ", "two ", "three"), tuple("one two three"), ("", "one two three")]
)
def test_any_cut_of_the_text_gives_the_same_response(pieces: tuple[str, ...]) -> None:
    cut = in_pieces([json.dumps(each).encode() for each in LIVE], pieces)
    assembler = assembled(cut)
    assert (assembler.flaw, assembler.is_complete) == ("", True)
    assert json.loads(assembler.whole()) == json.loads(response_body("one two three", usage=USAGE))


def test_a_stream_is_whole_with_its_last_event_alone() -> None:
    for end in range(len(LIVE)):
        cut = assembled(LIVE[:end])
        cut.finish()
        assert not cut.is_complete
        assert not cut.is_over
    assert assembled(LIVE).is_complete


def test_events_that_nobody_knows_and_obfuscation_count_for_nothing() -> None:
    strange = event("response.of_tomorrow", delta="x", response="y")
    dressed = [{**each, "obfuscation": "pad"} for each in LIVE]
    assert json.loads(assembled([*dressed[:4], strange, *dressed[4:]]).whole()) == LIVE[-1]["response"]


@pytest.mark.parametrize("left_out", [[], None, "missing"])
def test_a_last_event_without_output_has_that_of_the_items(left_out: object) -> None:
    response = {**LIVE[-1]["response"], "output": left_out}
    if left_out == "missing":
        del response["output"]
    assembler = assembled([*LIVE[:-1], {**LIVE[-1], "response": response}])
    assert json.loads(assembler.whole()) == LIVE[-1]["response"]
    assert assembler.flaw == ""


def test_parts_that_come_in_turn_keep_their_places() -> None:
    body = body_of(message(text("one"), text("two")), message(text("three")))
    deltas = [
        event("response.output_text.delta", output_index=index, content_index=part, delta=piece)
        for index, part, piece in [(1, 0, "th"), (0, 1, "t"), (0, 0, "one"), (0, 1, "wo"), (1, 0, "ree")]
    ]
    last = event("response.completed", response=json.loads(body))
    assert assembled([*deltas, last]).flaw == ""


@pytest.mark.parametrize(
    "delta",
    [
        event("response.output_text.delta", output_index=0, content_index=0, delta="something else"),
        event("response.function_call_arguments.delta", output_index=0, delta="{}"),
    ],
)
def test_a_response_that_isnt_what_came_before_is_a_flaw(delta: dict[str, Any]) -> None:
    assert assembled([LIVE[0], delta, LIVE[-1]]).flaw == "not_mergeable"


def lost(*pieces: bytes, **received: Any) -> LostAnswer | None:
    return FORM.lost(ReceivedBody(begun=True, pieces=list(pieces), **received), "asked")


@pytest.mark.parametrize("end", range(1, len(LIVE)))
def test_a_stream_that_broke_off_is_priced_by_what_came(end: int) -> None:
    answer = lost(chunks=[json.dumps(each).encode() for each in LIVE[:end]])
    assert answer is not None
    came = any(each["type"] == "response.output_text.delta" for each in LIVE[:end])
    assert (answer.text, answer.model) == ("one two three" if came else "", "scripted")
    assert (answer.usage.input_tokens, answer.usage.estimated) == (0, True)


def test_each_kind_of_generated_text_is_lost_text() -> None:
    replayed = list(FORM.replay(body_of(*ITEMS)).chunks(include_usage=True))[:-1]
    answer = lost(
        chunks=[*replayed, b"no JSON", b"3", json.dumps(event("response.audio.delta", delta="AAAA")).encode()]
    )
    assert answer is not None
    for words in ("Hm.", "At length.", "one ", "I can't help", '{"a": 1}', "select 1", "1 + 1"):
        assert words in answer.text
    assert "AAAA" not in answer.text


def test_a_whole_response_that_came_too_late_has_its_own_usage() -> None:
    answer = lost(response_body("Hi.", model="m-1", usage=USAGE), ended=True)
    assert answer is not None
    assert (answer.text, answer.usage, answer.model) == ("Hi.", USAGE, "m-1")
    last = lost(chunks=[json.dumps(each).encode() for each in LIVE])
    assert last is not None
    assert last.usage == USAGE


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "no"}}',
        json.dumps(failed("server_error") | {"usage": None}).encode(),
        b'event: error\ndata: {"type": "error", "message": "no"}\n\n',
        b'data: {"type": "error", "message": "no"}\n\n',
        b'data: {"type": "response.failed", "response": {"status": "failed", "output": []}}\n\n',
        b"<html>",
    ],
)
def test_an_error_costs_nothing(body: bytes) -> None:
    assert lost(body, ended=True) is None


def test_a_failed_response_with_a_usage_is_charged() -> None:
    answer = lost(json.dumps(failed("server_error")).encode(), ended=True)
    assert answer is not None
    assert answer.usage == USAGE


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9, 0.99])
def test_a_cut_response_is_priced_by_what_came(share: float) -> None:
    words = "A cache keeps what was answered before. " * 40
    body = response_body(words, model="m-1", usage=USAGE)
    answer = lost(body[: int(len(body) * share)], declared_bytes=len(body))
    assert answer is not None
    assert words.startswith(answer.text)


def test_the_text_of_a_response_is_all_that_was_generated() -> None:
    generated = FORM.generated(body_of(*ITEMS, 3, {"type": "message", "content": ["odd", 3]}))
    for words in (
        "Hm.",
        "Yes, so it is.",
        "At length.",
        "one two",
        "I can't help",
        '{"a": 1}',
        "select 1",
        "1 + 1",
        "odd",
    ):
        assert words in generated
    assert "AAAA" not in generated


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_is_sent_as_it_is_but_for_the_model_and_the_way(stream: bool) -> None:
    body = b'{ "model":"fast", "input" : "\\u00e4", "stream": %b, "temperature": 1.0 }'
    before, after = (b"false", b"true") if stream else (b"true", b"false")
    sent = FORM.edit(body % before, model="m", stream=stream)
    assert sent == (body % after).replace(b'"fast"', b'"m"')
    assert FORM.edit(sent, model="m", stream=stream) == sent


def test_a_streamed_call_asks_for_no_usage_which_comes_anyway() -> None:
    sent = json.loads(FORM.edit(b'{"model":"m","input":"a"}', model="m", stream=True, asks_usage=True))
    assert sent == {"model": "m", "input": "a", "stream": True}


def test_calls_of_tools_are_scripted_as_items() -> None:
    answer = FORM.read(response_body("", tool_calls=[CALL]))
    assert (answer.tool_calls, answer.finish_reason) == (True, "completed")
