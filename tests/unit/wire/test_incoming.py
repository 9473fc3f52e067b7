"""Callers' messages: what is said arrives whole, and nonsense is refused with a reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration

from semcache.errors import InvalidRequestError
from semcache.model import (
    CacheControl,
    CacheMode,
    Request,
    Template,
)
from semcache.settings import LimitSettings
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.chat import text_body
from semcache.wire.incoming import (
    LookupCall,
    batched_lookup_call,
    complete_call,
    explain_call,
    lookup_call,
    store_call,
    verdict_call,
)

LIMITS = LimitSettings()
TEXT_PROMPT = pb.Prompt(text=pb.TextPrompt(model="m", text="hi"))


def complete(message: pb.CompleteRequest | pb.CompleteStreamRequest) -> Request:
    return complete_call(message, tenant="acme", limits=LIMITS)


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
    assert explain_call(pb.ExplainRequest(prompt=TEXT_PROMPT), tenant="acme", limits=LIMITS) == request


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
        explain_call(pb.ExplainRequest(prompt=TEXT_PROMPT, max_candidates=-1), tenant="acme", limits=LIMITS)


def test_a_lookup_arrives_with_its_lease():
    call = lookup_call(
        pb.LookupRequest(prompt=TEXT_PROMPT, want_lease=True, lease_ttl=Duration(seconds=9)),
        tenant="acme",
        limits=LIMITS,
    )
    assert (call.want_lease, call.lease_ttl_s, call.request.body) == (True, 9.0, text_body(TEXT_PROMPT.text))
    assert batched_lookup_call(pb.LookupRequest(prompt=TEXT_PROMPT), tenant="acme", limits=LIMITS).lease_ttl_s is None


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
        read(message, tenant="acme", limits=LIMITS)


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
