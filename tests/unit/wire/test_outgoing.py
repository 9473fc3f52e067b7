"""Values leave whole, and what is absent stays absent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from semcache.model import (
    Answer,
    Cacheability,
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
    Status,
    Task,
    Tier,
    Usage,
    hit_ratio,
)
from semcache.v1 import semcache_pb2 as pb
from semcache.wire import outgoing

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
    stale_s=42.25,
)


def test_every_field_of_a_response_reaches_the_caller():
    assert set(Response._fields) == {
        *("request_id", "status", "reason", "alias", "answer", "detail", "entry_id", "hit_id", "similarity", "age_s"),
        *("verdicts", "effective_threshold", "usage", "cost", "saved", "stages", "stored", "store_reason"),
        *("task", "stale_s"),
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
        stale_for=Duration(seconds=42, nanos=250_000_000),
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
    assert message.total == 511
    assert {status: getattr(message, status.value) for status in Status} == counts
    assert hit_ratio(counts) == pytest.approx((1 + 2 + 4) / (511 - 16 - 32 - 64 - 128 - 256))
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
