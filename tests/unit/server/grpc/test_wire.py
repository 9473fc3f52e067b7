"""Messages and values: what is said arrives and leaves whole, and nonsense is refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from semcache.errors import InvalidRequestError, PermissionDeniedError
from semcache.finance.savings import SavingsGroup, SavingsQuery
from semcache.model import (
    Answer,
    Cacheability,
    CacheControl,
    CacheMode,
    Candidate,
    Cost,
    Decision,
    Deposited,
    Effect,
    Entry,
    Explanation,
    GuardVerdict,
    Judgement,
    KeyedRequest,
    Lease,
    LookupResult,
    Request,
    Response,
    Selector,
    Status,
    Task,
    Template,
    Tier,
    Usage,
    hit_ratio,
)
from semcache.server.grpc.wire import outgoing
from semcache.server.grpc.wire.answer import UNKNOWN_USAGE, stored_answer
from semcache.server.grpc.wire.chat import chat_body, text_body
from semcache.server.grpc.wire.incoming import (
    LookupCall,
    batched_lookup_call,
    complete_call,
    explain_call,
    lookup_call,
    selector,
    store_call,
    verdict_call,
)
from semcache.server.grpc.wire.savings import savings_query
from semcache.settings import LimitSettings
from semcache.v1 import semcache_pb2 as pb

LIMITS = LimitSettings()
USER = pb.ChatMessage(role="user", text="hi")
TEXT_PROMPT = pb.Prompt(text=pb.TextPrompt(model="m", text="hi"))


def chat(**fields_: object) -> pb.ChatRequest:
    return pb.ChatRequest(**{"model": "m", "messages": [USER], **fields_})


def complete(message: pb.CompleteRequest | pb.CompleteStreamRequest) -> Request:
    return complete_call(message, tenant="acme", limits=LIMITS)


# ---- typed bodies


def test_every_field_of_a_typed_request_stands_in_the_body_once_in_a_fixed_order():
    message = chat(
        messages=[
            pb.ChatMessage(role="system", text="Be brief.", name="ops"),
            pb.ChatMessage(
                role="user",
                parts=pb.ContentParts(
                    parts=[
                        pb.ContentPart(text="Was ist „das“?"),
                        pb.ContentPart(image_url=pb.ImageUrl(url="https://x/y.png", detail="low")),
                        pb.ContentPart(image_url=pb.ImageUrl(url="https://x/z.png")),
                        pb.ContentPart(raw_json=b'{ "type":"file" , "n":1.0}'),
                    ]
                ),
            ),
            pb.ChatMessage(role="assistant", tool_calls=[pb.ToolCall(id="c1", name="f", arguments='{"a": 1}')]),
            pb.ChatMessage(role="tool", text="42", tool_call_id="c1", extra_json=b' {"x": 3.0} '),
        ],
        temperature=0.0,
        top_p=0.95,
        max_tokens=5,
        max_completion_tokens=6,
        seed=2**62,
        presence_penalty=-1.0,
        frequency_penalty=1e-7,
        n=1,
        stop=["a", "b"],
        user="u",
        logprobs=False,
        top_logprobs=0,
        parallel_tool_calls=True,
        reasoning_effort="low",
        tools_json=b'[{"type" :"function"}]',
        tool_choice_json=b'"auto"',
        response_format_json=b'{"type":"text"}',
        extra_json=b'{"logit_bias": {"50256": -1e2}, "z":12345678901234567890}',
    )
    assert chat_body(message).decode() == (
        '{"model":"m","messages":['
        '{"role":"system","content":"Be brief.","name":"ops"},'
        '{"role":"user","content":[{"type":"text","text":"Was ist „das“?"},'
        '{"type":"image_url","image_url":{"url":"https://x/y.png","detail":"low"}},'
        '{"type":"image_url","image_url":{"url":"https://x/z.png"}},'
        '{ "type":"file" , "n":1.0}]},'
        '{"role":"assistant","tool_calls":[{"id":"c1","type":"function",'
        '"function":{"name":"f","arguments":"{\\"a\\": 1}"}}]},'
        '{"role":"tool","content":"42","tool_call_id":"c1","x": 3.0}],'
        '"temperature":0,"top_p":0.95,"max_tokens":5,"max_completion_tokens":6,"seed":4611686018427387904,'
        '"presence_penalty":-1,"frequency_penalty":1e-07,"n":1,"user":"u","logprobs":false,"top_logprobs":0,'
        '"parallel_tool_calls":true,"reasoning_effort":"low","stop":["a","b"],"tools":[{"type" :"function"}],'
        '"tool_choice":"auto","response_format":{"type":"text"},'
        '"logit_bias": {"50256": -1e2}, "z":12345678901234567890}'
    )


def test_no_field_of_the_message_types_is_forgotten():
    # A field that is added to the contract and not to the writer would be dropped silently; this list makes it loud.
    assert {field.name for field in pb.ChatRequest.DESCRIPTOR.fields} == {
        *("model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed"),
        *("presence_penalty", "frequency_penalty", "n", "stop", "user", "logprobs", "top_logprobs"),
        *("parallel_tool_calls", "reasoning_effort"),
        *("tools_json", "tool_choice_json", "response_format_json", "extra_json"),
    }
    assert {field.name for field in pb.ChatMessage.DESCRIPTOR.fields} == {
        *("role", "text", "parts", "name", "tool_calls", "tool_call_id", "extra_json"),
    }


def test_unset_fields_are_not_written_and_empty_text_is():
    message = pb.ChatRequest(model="m", messages=[pb.ChatMessage(role="user", text="")], extra_json=b" { } ")
    assert chat_body(message) == b'{"model":"m","messages":[{"role":"user","content":""}]}'


def test_a_prompt_alone_is_the_same_request_as_one_user_message():
    text = 'line\n"quoted" – ünïcödé 🙂'
    typed = chat(messages=[pb.ChatMessage(role="user", text=text)])
    assert text_body(pb.TextPrompt(model="m", text=text)) == chat_body(typed)
    assert json.loads(chat_body(typed))["messages"][0]["content"] == text


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (chat(tools_json=b"[1,"), "chat.tools_json is not JSON"),
        (chat(tools_json=b"{}"), "chat.tools_json is not a JSON array"),
        (chat(tools_json=b"\xff"), "chat.tools_json is not JSON"),
        (chat(tools_json=b"[NaN]"), "NaN is no JSON number"),
        (chat(tools_json=b"[" * 100_000 + b"]" * 100_000), "chat.tools_json is nested too deeply"),
        (chat(tools_json=b"[" + b"9" * 5_000 + b"]"), "chat.tools_json is not JSON"),
        (chat(tool_choice_json=b"3"), "chat.tool_choice_json is not a JSON string or object"),
        (chat(response_format_json=b'"text"'), "chat.response_format_json is not a JSON object"),
        (chat(extra_json=b"[]"), "chat.extra_json is not a JSON object"),
        (chat(extra_json=b'{"a":1}, "b":2'), "chat.extra_json is not JSON"),
        (chat(extra_json=b'{"a":1,"a":2}'), "chat.extra_json gives 'a' a second time"),
        (chat(extra_json=b'{"messages":[]}'), "chat.extra_json gives 'messages' a second time"),
        (chat(n=1, extra_json=rb'{"\u006e":2}'), "chat.extra_json gives 'n' a second time"),
        (chat(temperature=math.nan), "chat.temperature is nan"),
        (chat(top_p=math.inf), "chat.top_p is inf"),
        (
            chat(messages=[USER, pb.ChatMessage(role="user", text="", extra_json=b'{"content":1}')]),
            r"chat.messages\[1\].extra_json gives 'content' a second time",
        ),
        (
            chat(messages=[pb.ChatMessage(role="user", parts=pb.ContentParts(parts=[pb.ContentPart()]))]),
            r"chat.messages\[0\].parts.parts\[0\] is empty",
        ),
        (
            chat(
                messages=[
                    pb.ChatMessage(role="user", parts=pb.ContentParts(parts=[pb.ContentPart(raw_json=b'"text"')]))
                ]
            ),
            r"raw_json is not a JSON object",
        ),
    ],
)
def test_what_would_not_be_one_clear_json_object_is_refused_by_field(message: pb.ChatRequest, named: str):
    with pytest.raises(InvalidRequestError, match=named):
        chat_body(message)


# ---- requests


def test_a_complete_arrives_whole():
    body = b'{ "model": "m", "messages": [], "seed": 3.0 }'
    for kind in (pb.CompleteRequest, pb.CompleteStreamRequest):
        request = complete(
            kind(
                prompt=pb.Prompt(
                    openai_json=body,
                    namespace="support/de",
                    task_type="chat",
                    template=pb.TemplateUse(id="greet@2", slots=[pb.Slot(name="who", value="Ann, “the boss”")]),
                    knowledge_version="2026-11",
                ),
                control=pb.CacheControl(
                    mode=pb.CACHE_MODE_REFRESH,
                    ttl=Duration(seconds=1, nanos=500_000_000),
                    max_age=Duration(),
                    no_store=True,
                    similarity_threshold=0.0,
                ),
                tags=["a", "b", "a"],
                sources=["doc/1#3"],
            )
        )
        assert request == Request(
            tenant="acme",
            body=body,
            namespace="support/de",
            tags=("a", "b"),
            sources=("doc/1#3",),
            task_type="chat",
            template=Template("greet@2", (("who", "Ann, “the boss”"),)),
            knowledge_version="2026-11",
            control=CacheControl(CacheMode.REFRESH, 1.5, 0.0, no_store=True, similarity_threshold=0.0),
        )


def test_a_request_that_says_nothing_more_gets_the_defaults():
    request = complete(pb.CompleteRequest(prompt=TEXT_PROMPT))
    assert request == Request(tenant="acme", body=text_body(TEXT_PROMPT.text))
    assert explain_call(pb.ExplainRequest(prompt=TEXT_PROMPT), tenant="acme") == request


@pytest.mark.parametrize(
    ("number", "mode"),
    [(0, "default"), (1, "default"), (2, "bypass"), (3, "refresh"), (4, "cache_only")],
)
def test_every_mode_has_its_value(number: int, mode: str):
    control = pb.CacheControl(mode=number)
    assert complete(pb.CompleteRequest(prompt=TEXT_PROMPT, control=control)).control.mode == CacheMode(mode)


def scoped(**fields_: object) -> pb.CompleteRequest:
    return pb.CompleteRequest(prompt=pb.Prompt(text=TEXT_PROMPT.text, **fields_))


def controlled(**fields_: object) -> pb.CompleteRequest:
    return pb.CompleteRequest(prompt=TEXT_PROMPT, control=pb.CacheControl(**fields_))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (pb.CompleteRequest(), "INVALID_REQUEST"),
        (pb.CompleteRequest(prompt=pb.Prompt(namespace="a")), "INVALID_REQUEST"),
        (scoped(namespace="a b"), "INVALID_NAME"),
        (scoped(namespace="ns\n"), "INVALID_NAME"),
        (scoped(namespace="é"), "INVALID_NAME"),
        (scoped(namespace="x" * 129), "INVALID_NAME"),
        (scoped(task_type="/chat"), "INVALID_NAME"),
        (scoped(knowledge_version="v 1"), "INVALID_NAME"),
        (scoped(template=pb.TemplateUse()), "INVALID_TEMPLATE"),
        (scoped(template=pb.TemplateUse(id="t", slots=[pb.Slot(value="x")])), "INVALID_TEMPLATE"),
        (scoped(template=pb.TemplateUse(id="t", slots=[pb.Slot(name="x")] * 2)), "INVALID_TEMPLATE"),
        (scoped(template=pb.TemplateUse(id="a b")), "INVALID_NAME"),
        (controlled(mode=99), "INVALID_REQUEST"),
        (controlled(ttl=Duration()), "INVALID_TTL"),
        (controlled(ttl=Duration(seconds=-1)), "INVALID_TTL"),
        (controlled(max_age=Duration(nanos=-1)), "INVALID_MAX_AGE"),
        (controlled(similarity_threshold=1.01), "INVALID_THRESHOLD"),
        (controlled(similarity_threshold=-1.01), "INVALID_THRESHOLD"),
        (controlled(similarity_threshold=math.nan), "INVALID_THRESHOLD"),
        (pb.CompleteRequest(prompt=TEXT_PROMPT, tags=["a", ""]), "INVALID_NAME"),
        (pb.CompleteRequest(prompt=TEXT_PROMPT, sources=["a\x00"]), "INVALID_NAME"),
        (pb.CompleteRequest(prompt=TEXT_PROMPT, tags=[f"t{i}" for i in range(33)]), "TOO_MANY_TAGS"),
    ],
)
def test_bad_requests_are_refused_with_a_reason(message: pb.CompleteRequest, reason: str):
    with pytest.raises(InvalidRequestError) as refused:
        complete(message)
    assert refused.value.reason == reason
    assert refused.value.hint


def test_the_limits_themselves_are_allowed():
    complete(scoped(namespace="x" * 128))
    complete(pb.CompleteRequest(prompt=TEXT_PROMPT, tags=[f"t{i}" for i in range(32)]))
    complete(controlled(similarity_threshold=1.0))


def test_explain_refuses_negative_candidates():
    with pytest.raises(InvalidRequestError, match="max_candidates"):
        explain_call(pb.ExplainRequest(prompt=TEXT_PROMPT, max_candidates=-1), tenant="acme")


def test_a_lookup_arrives_with_its_lease():
    call = lookup_call(
        pb.LookupRequest(prompt=TEXT_PROMPT, want_lease=True, lease_ttl=Duration(seconds=9)), tenant="acme"
    )
    assert (call.want_lease, call.lease_ttl_s, call.request.body) == (True, 9.0, text_body(TEXT_PROMPT.text))
    assert batched_lookup_call(pb.LookupRequest(prompt=TEXT_PROMPT), tenant="acme").lease_ttl_s is None


@pytest.mark.parametrize(
    ("message", "read"),
    [
        (pb.LookupRequest(prompt=TEXT_PROMPT, control=pb.CacheControl(mode=pb.CACHE_MODE_BYPASS)), lookup_call),
        (pb.LookupRequest(prompt=TEXT_PROMPT, control=pb.CacheControl(mode=pb.CACHE_MODE_REFRESH)), lookup_call),
        (pb.LookupRequest(prompt=TEXT_PROMPT, want_lease=True), batched_lookup_call),
        (pb.LookupRequest(prompt=TEXT_PROMPT, want_lease=True, lease_ttl=Duration()), lookup_call),
    ],
)
def test_lookups_that_make_no_sense_are_refused(message: pb.LookupRequest, read: Callable[..., LookupCall]):
    with pytest.raises(InvalidRequestError):
        read(message, tenant="acme")


def test_a_store_under_a_lookup_lays_its_wishes_onto_the_request_that_was_looked_up():
    message = pb.StoreRequest(
        lookup_id="l1", lease_id="s1", tags=["t"], sources=["d"], ttl=Duration(seconds=5), text="answer"
    )
    call = store_call(message, tenant="acme", limits=LIMITS)
    assert (call.request, call.lookup_id, call.lease_id, call.vector) == (None, "l1", "s1", None)
    looked_up = Request(tenant="acme", body=b"{}", namespace="n", control=CacheControl(max_age_s=3.0))
    assert call.onto(looked_up) == replace(
        looked_up, tags=("t",), sources=("d",), control=CacheControl(ttl_s=5.0, max_age_s=3.0)
    )


def test_a_store_with_a_prompt_carries_its_wishes_in_the_request():
    message = pb.StoreRequest(prompt=TEXT_PROMPT, tags=["t"], sources=["d"], ttl=Duration(seconds=5), text="answer")
    call = store_call(message, tenant="acme", limits=LIMITS)
    assert call.request == Request(
        tenant="acme",
        body=text_body(TEXT_PROMPT.text),
        tags=("t",),
        sources=("d",),
        control=CacheControl(ttl_s=5.0),
    )


def test_a_callers_embedding_is_brought_to_unit_length():
    embedding = pb.Embedding(values=[3.0, 0.0, 4.0], embedder_fingerprint="f")
    call = store_call(pb.StoreRequest(prompt=TEXT_PROMPT, text="a", embedding=embedding), tenant="acme", limits=LIMITS)
    assert call.embedder_fingerprint == "f"
    assert call.vector is not None
    assert call.vector.dtype == np.float32
    np.testing.assert_allclose(call.vector, [0.6, 0.0, 0.8], rtol=1e-6)


@pytest.mark.parametrize(
    "fields_",
    [
        {},
        {"lookup_id": "l", "ttl": Duration()},
        {"lookup_id": "l", "tags": ["a b"]},
        {"lookup_id": "l", "sources": [""]},
        {"lookup_id": "l", "embedding": pb.Embedding(values=[1.0])},
        {"lookup_id": "l", "embedding": pb.Embedding(embedder_fingerprint="f")},
        {"lookup_id": "l", "embedding": pb.Embedding(values=[0.0, 0.0], embedder_fingerprint="f")},
        {"lookup_id": "l", "embedding": pb.Embedding(values=[1.0, math.nan], embedder_fingerprint="f")},
        {"lookup_id": "l", "embedding": pb.Embedding(values=[1.0, math.inf], embedder_fingerprint="f")},
    ],
)
def test_stores_that_make_no_sense_are_refused(fields_: dict[str, object]):
    with pytest.raises(InvalidRequestError):
        store_call(pb.StoreRequest(text="answer", **fields_), tenant="acme", limits=LIMITS)


def test_a_verdict_arrives():
    call = verdict_call(pb.ReportVerdictRequest(hit_id="h", verdict=pb.VERDICT_WRONG, judge="qa@x", note="no"))
    assert (call.hit_id, call.right, call.judge, call.note) == ("h", False, "qa@x", "no")
    call = verdict_call(pb.ReportVerdictRequest(hit_id="h", verdict=pb.VERDICT_RIGHT))
    assert (call.right, call.judge) == (True, "caller")


@pytest.mark.parametrize(
    "message",
    [
        pb.ReportVerdictRequest(verdict=pb.VERDICT_WRONG),
        pb.ReportVerdictRequest(hit_id="h"),
        pb.ReportVerdictRequest(hit_id="h", verdict=7),
        pb.ReportVerdictRequest(hit_id="h", verdict=pb.VERDICT_WRONG, judge="a\nb"),
        pb.ReportVerdictRequest(hit_id="h", verdict=pb.VERDICT_WRONG, note="x" * 4097),
    ],
)
def test_verdicts_that_make_no_sense_are_refused(message: pb.ReportVerdictRequest):
    with pytest.raises(InvalidRequestError):
        verdict_call(message)


# ---- invalidation and savings


def select(message: pb.InvalidateRequest) -> Selector:
    return selector(message, tenant="acme", now_s=1000.0, limits=LIMITS)


def test_a_selector_arrives_whole_and_the_earlier_of_two_times_counts():
    message = pb.InvalidateRequest(
        entry_ids=["e1f", "e2"],
        tags=["t"],
        sources=["d"],
        namespace="n",
        model="m",
        older_than=Duration(seconds=100),
        created_before=Timestamp(seconds=950),
    )
    assert select(message) == Selector(
        tenant="acme",
        entry_ids=(31, 2),
        tags=("t",),
        sources=("d",),
        namespace="n",
        alias="m",
        created_before_s=900.0,
    )
    assert select(pb.InvalidateRequest(all=True)) == Selector(tenant="acme", everything=True)


@pytest.mark.parametrize(
    "message",
    [
        pb.InvalidateRequest(),
        pb.InvalidateRequest(apply=True),
        pb.InvalidateRequest(all=True, namespace="n"),
        # Were a malformed id dropped, the rest would name more than was meant.
        pb.InvalidateRequest(entry_ids=["e1", "nonsense"]),
        pb.InvalidateRequest(tags=[""]),
        pb.InvalidateRequest(namespace="a b"),
        pb.InvalidateRequest(older_than=Duration()),
        pb.InvalidateRequest(created_before=Timestamp(seconds=-1)),
    ],
)
def test_invalidations_that_name_nothing_or_nonsense_are_refused(message: pb.InvalidateRequest):
    with pytest.raises(InvalidRequestError):
        select(message)


def test_a_savings_window_is_widened_to_whole_hours():
    message = pb.GetSavingsRequest(
        start_time=Timestamp(seconds=3601),
        end_time=Timestamp(seconds=7200, nanos=1),
        models=["m"],
        task_types=["chat"],
        group_by=[pb.SAVINGS_GROUP_DAY, pb.SAVINGS_GROUP_MODEL],
    )
    assert savings_query(message, tenant="acme", reads_all=False, now_s=0.0) == SavingsQuery(
        start_s=3600,
        end_s=10800,
        models=frozenset({"m"}),
        task_types=frozenset({"chat"}),
        group_by=(SavingsGroup.DAY, SavingsGroup.MODEL),
        tenants=frozenset({"acme"}),
    )
    open_ended = savings_query(pb.GetSavingsRequest(), tenant="acme", reads_all=False, now_s=5000.0)
    assert (open_ended.start_s, open_ended.end_s, open_ended.group_by) == (0, 7200, ())


@pytest.mark.parametrize(
    "message",
    [
        pb.GetSavingsRequest(start_time=Timestamp(seconds=5), end_time=Timestamp(seconds=5)),
        pb.GetSavingsRequest(start_time=Timestamp(seconds=9000)),
        pb.GetSavingsRequest(end_time=Timestamp(seconds=-5)),
        pb.GetSavingsRequest(group_by=[pb.SAVINGS_GROUP_UNSPECIFIED]),
        pb.GetSavingsRequest(group_by=[9]),
        pb.GetSavingsRequest(tenants=["acme"], all_tenants=True),
        pb.GetSavingsRequest(group_by=[pb.SAVINGS_GROUP_MODEL, pb.SAVINGS_GROUP_MODEL]),
        pb.GetSavingsRequest(group_by=[pb.SAVINGS_GROUP_HOUR, pb.SAVINGS_GROUP_DAY]),
    ],
)
def test_savings_queries_that_make_no_sense_are_refused(message: pb.GetSavingsRequest):
    with pytest.raises(InvalidRequestError):
        savings_query(message, tenant="acme", reads_all=True, now_s=8000.0)


@pytest.mark.parametrize(
    ("message", "tenants"),
    [
        (pb.GetSavingsRequest(all_tenants=True), None),
        (pb.GetSavingsRequest(tenants=["globex"]), {"globex"}),
        (pb.GetSavingsRequest(tenants=["globex", "acme"]), {"globex", "acme"}),
    ],
)
def test_other_tenants_savings_are_for_those_who_may_read_all(message: pb.GetSavingsRequest, tenants: set[str] | None):
    assert savings_query(message, tenant="acme", reads_all=True, now_s=8000.0).tenants == tenants
    with pytest.raises(PermissionDeniedError) as caught:
        savings_query(message, tenant="acme", reads_all=False, now_s=8000.0)
    assert caught.value.reason == "OTHER_TENANTS_SAVINGS"


def test_one_may_name_oneself():
    query = savings_query(pb.GetSavingsRequest(tenants=["acme"]), tenant="acme", reads_all=False, now_s=8000.0)
    assert query.tenants == {"acme"}


# ---- stored answers


def stored(max_bytes: int = 10_000, **fields_: object) -> Answer:
    message = pb.StoreRequest(**fields_)
    return stored_answer(message, alias="alias", answer_id="chatcmpl-1", now_s=12.9, max_bytes=max_bytes)


def completion(**changes: object) -> bytes:
    message = {"role": "assistant", "content": "Paris."}
    whole = {
        "model": "gpt-x",
        "choices": [{"message": message, "finish_reason": "length"}],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    }
    return json.dumps({**whole, **changes}).encode()


def test_a_callers_completion_is_kept_byte_for_byte_and_read():
    body = completion()
    answer = stored(openai_json=body, upstream_latency=Duration(seconds=1, nanos=250_000_000))
    assert answer == Answer(
        body=body, model="gpt-x", finish_reason="length", usage=Usage(10, 4, 3), text="Paris.", latency_s=1.25
    )


def test_what_the_message_says_beats_what_the_json_says():
    answer = stored(
        openai_json=completion(),
        served_model="mini",
        finish_reason="stop",
        degraded=True,
        usage=pb.Usage(input_tokens=7, cached_input_tokens=7, output_tokens=1, estimated=True),
    )
    assert (answer.model, answer.finish_reason, answer.degraded) == ("mini", "stop", True)
    assert answer.usage == Usage(7, 7, 1, estimated=True)


def test_a_text_becomes_a_completion_of_one_choice():
    answer = stored(text="Äpfel", usage=pb.Usage(input_tokens=2, output_tokens=1))
    assert json.loads(answer.body) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 12,
        "model": "alias",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Äpfel"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
    }
    assert (answer.text, answer.model, answer.finish_reason) == ("Äpfel", "alias", "stop")


def test_usage_that_nobody_sent_is_marked_as_unknown_and_not_written():
    answer = stored(text="x")
    assert answer.usage is UNKNOWN_USAGE
    assert "usage" not in json.loads(answer.body)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "many",
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": 1, "completion_tokens": None},
        {"prompt_tokens": True, "completion_tokens": 2},
        {"prompt_tokens": 1.5, "completion_tokens": 2},
        {"prompt_tokens": 10**13, "completion_tokens": 2},
    ],
)
def test_nonsense_usage_of_an_upstream_counts_as_unknown(usage: object):
    assert stored(openai_json=completion(usage=usage)).usage == UNKNOWN_USAGE


def test_more_cached_tokens_than_tokens_are_nonsense():
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}}
    assert stored(openai_json=completion(usage=usage)).usage == UNKNOWN_USAGE


def test_tokens_written_to_the_providers_cache_are_read():
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}}
    written = {**usage, "cache_creation_input_tokens": 5}
    assert stored(openai_json=completion(usage=written)).usage == Usage(9, 2, 1, cache_write_tokens=5)


@pytest.mark.parametrize("field", ["tool_calls", "function_call"])
def test_tool_calls_are_noticed(field: str):
    message = {"role": "assistant", "content": None, field: [{"id": "c"}]}
    answer = stored(openai_json=completion(choices=[{"message": message, "finish_reason": "tool_calls"}]))
    assert (answer.tool_calls, answer.text, answer.finish_reason) == (True, "", "tool_calls")


@pytest.mark.parametrize(
    "fields_",
    [
        {},
        {"openai_json": b""},
        {"openai_json": b"{"},
        {"openai_json": b"\xff"},
        {"openai_json": b"[]"},
        {"openai_json": b"{}"},
        {"openai_json": b'{"choices":[]}'},
        {"openai_json": b'{"choices":{"0":1}}'},
        {"openai_json": b'{"choices":["x"]}'},
        {"openai_json": b'{"choices":[{"message":"x"}]}'},
        {"openai_json": completion(x=math.nan)},
        {"openai_json": b"[" * 100_000},
        {"openai_json": completion(pad="x" * 10_000)},
        {"text": "x" * 10_000},
        {"text": "x", "upstream_latency": Duration(seconds=-1)},
        {"text": "x", "usage": pb.Usage(input_tokens=-1)},
        {"text": "x", "usage": pb.Usage(output_tokens=10**13)},
        {"text": "x", "usage": pb.Usage(input_tokens=1, cached_input_tokens=2)},
    ],
)
def test_answers_that_are_none_are_refused(fields_: dict[str, object]):
    with pytest.raises(InvalidRequestError):
        stored(**fields_)


# ---- responses

ANSWER = Answer(
    body=b'{"choices":[]}',
    model="gpt-x",
    finish_reason="stop",
    usage=Usage(10, 4, 3),
    text="Grüße",
    route="primary",
    degraded=True,
)
ENTRY = Entry(
    tenant="acme",
    namespace="n",
    alias="m",
    exact_key=b"k" * 32,
    partition=b"p" * 32,
    text="What?",
    answer=ANSWER,
    cost=Cost(1, 2, 3, priced=True, price_version="v"),
    created_s=100.25,
    expires_s=200.0,
    tags=("t",),
    sources=("d",),
    task_type="chat",
    template_id="greet",
    knowledge_version="k1",
    entry_id=31,
)
VETO = GuardVerdict("numbers", Effect.VETO, "12 against 13")
RESPONSE = Response(
    request_id="r",
    status=Status.SEMANTIC_HIT,
    reason="above_threshold",
    alias="m",
    answer=ANSWER,
    detail="0.98 of 0.97",
    entry_id=31,
    hit_id="h",
    similarity=0.98,
    age_s=1.5,
    verdicts=(VETO,),
    effective_threshold=0.97,
    usage=Usage(10, 4, 3),
    cost=Cost(priced=True),
    saved=Cost(1, 2, 3, priced=True, price_version="v"),
    stages=(("key", 0.000001), ("embed", 0.0025)),
    stored=True,
    store_reason="why",
    task=Task("chat", "rule", "high", "length"),
)


def test_every_field_of_a_response_reaches_the_caller():
    assert set(Response._fields) == {
        *("request_id", "status", "reason", "alias", "answer", "detail", "entry_id", "hit_id", "similarity", "age_s"),
        *("verdicts", "effective_threshold", "usage", "cost", "saved", "stages", "stored", "store_reason"),
        "task",
    }
    expected = pb.Outcome(
        request_id="r",
        status=pb.STATUS_SEMANTIC_HIT,
        entry_id="e1f",
        hit_id="h",
        similarity=0.98,
        age=Duration(seconds=1, nanos=500_000_000),
        reason="above_threshold",
        detail="0.98 of 0.97",
        guard_verdicts=[pb.GuardVerdict(guard="numbers", action=pb.GUARD_ACTION_VETO, detail="12 against 13")],
        effective_threshold=0.97,
        requested_model="m",
        served_model="gpt-x",
        route="primary",
        degraded=True,
        task_type="chat",
        task_type_reason="rule",
        complexity="high",
        complexity_reason="length",
        usage=pb.Usage(input_tokens=10, cached_input_tokens=4, output_tokens=3),
        cost=pb.Cost(priced=True),
        saved=pb.Cost(
            input_nanousd=1,
            cached_input_nanousd=2,
            output_nanousd=3,
            total_nanousd=6,
            priced=True,
            price_version="v",
        ),
        stored=True,
        store_skipped_reason="why",
        stage_timings=[
            pb.StageTiming(stage="key", duration_ns=1_000),
            pb.StageTiming(stage="embed", duration_ns=2_500_000),
        ],
    )
    whole = outgoing.complete_response(RESPONSE)
    assert whole == pb.CompleteResponse(openai_json=ANSWER.body, text="Grüße", outcome=expected)
    assert outgoing.started(RESPONSE).started.outcome == expected
    assert outgoing.finished(RESPONSE).finished.outcome == expected
    assert outgoing.chunk(b"{}") == pb.CompleteStreamResponse(chunk=pb.Chunk(openai_json=b"{}"))


def test_what_is_absent_stays_absent():
    message = outgoing.outcome(Response(request_id="r", status=Status.MISS, reason="empty_partition", alias="m"))
    assert not message.HasField("similarity")
    assert not message.HasField("effective_threshold")
    assert not message.HasField("age")
    assert (message.entry_id, message.served_model, message.task_type_reason) == ("", "", "")


def test_a_similarity_of_zero_is_not_absent():
    assert outgoing.outcome(RESPONSE._replace(similarity=0.0)).HasField("similarity")


@pytest.mark.parametrize("status", [s for s in Status if s not in {Status.ERROR, Status.CANCELLED}])
def test_every_status_that_answers_has_its_value(status: Status):
    message = outgoing.outcome(RESPONSE._replace(status=status))
    assert pb.Status.Name(message.status) == f"STATUS_{status.name}"


@pytest.mark.parametrize("effect", list(Effect))
def test_every_effect_has_its_value(effect: Effect):
    (verdict,) = outgoing.outcome(RESPONSE._replace(verdicts=(GuardVerdict("g", effect),))).guard_verdicts
    assert pb.GuardAction.Name(verdict.action) == f"GUARD_ACTION_{effect.name}"


def test_half_a_surrogate_pair_in_an_answer_does_not_break_the_response():
    broken = replace(ANSWER, text="a\ud83d", model="m\udc00")
    message = outgoing.complete_response(RESPONSE._replace(answer=broken))
    assert (message.text, message.outcome.served_model) == ("a?", "m?")
    assert pb.CompleteResponse.FromString(message.SerializeToString()) == message


def test_lookups_leave_with_or_without_answer_and_lease():
    hit = outgoing.lookup_response(LookupResult(RESPONSE))
    assert (hit.openai_json, hit.text, hit.lookup_id, hit.HasField("lease")) == (ANSWER.body, "Grüße", "", False)
    miss = RESPONSE._replace(status=Status.MISS, answer=None)
    leased = outgoing.lookup_response(LookupResult(miss, "l", Lease("s", b"", 1.0)), lease_expires_s=7.5)
    assert (leased.openai_json, leased.text, leased.lookup_id) == (b"", "", "l")
    assert leased.lease == pb.Lease(lease_id="s", expire_time=Timestamp(seconds=7, nanos=500_000_000))


def test_a_store_leaves_with_its_entry_or_with_the_reason():
    cost = Cost(1, 2, 3, priced=True)
    kept = outgoing.store_response(Deposited("r", ENTRY, cost))
    assert (kept.entry_id, kept.stored, kept.expire_time, kept.cost.total_nanousd) == (
        "e1f",
        True,
        Timestamp(seconds=200),
        6,
    )
    refused = outgoing.store_response(Deposited("r", None, cost, "empty", "no text"))
    assert (refused.entry_id, refused.stored, refused.reason, refused.detail) == ("", False, "empty", "no text")
    assert not refused.HasField("expire_time")


def test_an_entry_is_listed_whole():
    assert outgoing.entry_message(ENTRY) == pb.Entry(
        entry_id="e1f",
        namespace="n",
        requested_model="m",
        served_model="gpt-x",
        degraded=True,
        task_type="chat",
        tags=["t"],
        sources=["d"],
        text="What?",
        create_time=Timestamp(seconds=100, nanos=250_000_000),
        expire_time=Timestamp(seconds=200),
        answer_bytes=len(ANSWER.body),
        usage=pb.Usage(input_tokens=10, cached_input_tokens=4, output_tokens=3),
        cost=outgoing.cost_message(ENTRY.cost),
        template_id="greet",
        knowledge_version="k1",
        route="primary",
    )


def explained(tier: Tier, decision: Decision | None, max_candidates: int = 0) -> pb.ExplainResponse:
    keyed = KeyedRequest(
        request=Request(tenant="acme", body=b"{}", task_type="chat"),
        alias="m",
        exact_key=b"\x01" * 32,
        partition=b"\x02" * 32,
        older_partitions=(),
        text="What?",
        cacheability=Cacheability(tier, "rule"),
        prompt_chars=5,
        output_limit=None,
        include_usage=False,
        task=Task("chat", "rule", "high", "length"),
    )
    explanation = Explanation(
        request_id="r",
        keyed=keyed,
        status=Status.MISS,
        reason="vetoed",
        detail="d",
        decision=decision,
        exact_entry_id=0,
        partition_entries=2,
        embedded_tokens=3,
        models=("large", "small"),
    )
    return outgoing.explain_response(
        explanation, policy="threshold", embedder_fingerprint="f", max_candidates=max_candidates, now_s=101.25
    )


def test_an_explanation_shows_each_candidate_and_why():
    vetoed = Judgement(Candidate(ENTRY, 0.99), served=False, reason="vetoed", verdicts=(VETO,))
    served = Judgement(Candidate(replace(ENTRY, entry_id=2), 0.98), served=True, reason="above_threshold")
    decision = Decision((vetoed, served), "above_threshold", 0.97)
    message = explained(Tier.SEMANTIC, decision)
    assert message.cacheability == pb.CACHEABILITY_SEMANTIC
    assert (message.exact_key, message.partition) == ("01" * 32, "02" * 32)
    assert (message.embedded_text, message.embedded_tokens, message.partition_entries) == ("What?", 3, 2)
    assert (message.effective_threshold, message.exact_entry_id, message.task_type) == (0.97, "", "chat")
    assert (message.task_type_reason, message.complexity, message.complexity_reason) == ("rule", "high", "length")
    assert message.candidate_models == ["large", "small"]
    assert list(message.candidates) == [
        pb.Candidate(
            entry_id="e1f",
            similarity=0.99,
            text="What?",
            guard_verdicts=[pb.GuardVerdict(guard="numbers", action=pb.GUARD_ACTION_VETO, detail="12 against 13")],
            threshold=0.97,
            reason="vetoed",
            age=Duration(seconds=1),
            served_model="gpt-x",
        ),
        pb.Candidate(
            entry_id="e2",
            similarity=0.98,
            text="What?",
            threshold=0.97,
            served=True,
            reason="above_threshold",
            age=Duration(seconds=1),
            served_model="gpt-x",
        ),
    ]
    assert [candidate.entry_id for candidate in explained(Tier.SEMANTIC, decision, 1).candidates] == ["e1f"]


@pytest.mark.parametrize(
    ("tier", "value"),
    [(Tier.NONE, pb.CACHEABILITY_BYPASS), (Tier.EXACT, pb.CACHEABILITY_EXACT_ONLY)],
)
def test_an_explanation_without_comparison_shows_no_partition(tier: Tier, value: int):
    message = explained(tier, None)
    assert (message.cacheability, message.partition, message.embedded_text) == (value, "", "")
    assert not message.HasField("effective_threshold")
    assert not message.candidates


def test_counts_add_up_and_the_hit_ratio_leaves_out_what_could_not_hit():
    counts = {status: 2**position for position, status in enumerate(Status)}
    message = outgoing.request_counts(counts)
    assert message.total == 255
    assert {status: getattr(message, status.value) for status in Status} == counts
    assert hit_ratio(counts) == pytest.approx((1 + 2 + 4) / (255 - 16 - 32 - 64 - 128))
    assert hit_ratio({Status.BYPASS: 3}) is None
    assert hit_ratio({Status.MISS: 3}) == 0.0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, Duration()),
        (0.9999999999, Duration(seconds=1)),
        (1.25, Duration(seconds=1, nanos=250_000_000)),
        (-1.25, Duration(seconds=-1, nanos=-250_000_000)),
    ],
)
def test_durations_are_valid_to_the_nanosecond(seconds: float, expected: Duration):
    assert outgoing.duration(seconds) == expected
