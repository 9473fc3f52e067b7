"""From semcache's values to the messages that callers get."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from semcache.model import (
    Cost,
    Deposited,
    Entry,
    Explanation,
    Judgement,
    LookupResult,
    Response,
    Status,
    Tier,
    Usage,
    format_entry_id,
)
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.outcome import (
    NANOS_PER_S,
    STATUSES,
    fill_cost,
    fill_outcome,
    fill_usage,
    seconds_and_nanos,
    verdict_messages,
)
from semcache.wire.texts import utf8

_CACHEABILITIES: dict[Tier, pb.Cacheability.ValueType] = {
    Tier.NONE: pb.CACHEABILITY_BYPASS,
    Tier.EXACT: pb.CACHEABILITY_EXACT_ONLY,
    Tier.SEMANTIC: pb.CACHEABILITY_SEMANTIC,
}


def complete_response(response: Response) -> pb.CompleteResponse:
    """Return the message of a Complete."""
    message = pb.CompleteResponse()
    fill_answer(message, response)
    fill_outcome(message.outcome, response)
    return message


def fill_answer(message: pb.CompleteResponse | pb.LookupResponse, response: Response) -> None:
    """Fill the answer into an empty message, if there is an answer."""
    if response.answer is not None:
        message.openai_json = response.answer.body
        message.text = utf8(response.answer.text)


def started(response: Response) -> pb.CompleteStreamResponse:
    """Return the first frame of a stream, from what is known before the answer."""
    message = pb.CompleteStreamResponse()
    fill_outcome(message.started.outcome, response)
    return message


def chunk(data: bytes) -> pb.CompleteStreamResponse:
    """Return a frame with one `chat.completion.chunk` JSON."""
    return pb.CompleteStreamResponse(chunk=pb.Chunk(openai_json=data))


def finished(response: Response) -> pb.CompleteStreamResponse:
    """Return the last frame of a stream."""
    message = pb.CompleteStreamResponse()
    fill_outcome(message.finished.outcome, response)
    return message


def lookup_response(result: LookupResult, *, lease_expires_s: float = 0.0) -> pb.LookupResponse:
    """Return the message of a Lookup; a lease in `result` ends at `lease_expires_s` (wall clock)."""
    message = pb.LookupResponse()
    fill_lookup(message, result)
    if result.lease is not None:
        lease = pb.Lease(lease_id=result.lease.lease_id, expire_time=timestamp(lease_expires_s))
        message.lease.CopyFrom(lease)
    return message


def fill_lookup(message: pb.LookupResponse, result: LookupResult) -> None:
    """Fill an empty message of a Lookup where it stands, all but its lease."""
    fill_answer(message, result.response)
    message.lookup_id = result.lookup_id
    fill_outcome(message.outcome, result.response)


def store_response(deposited: Deposited) -> pb.StoreResponse:
    """Return the message of a Store; without an entry nothing was stored, and the reason says why."""
    entry = deposited.entry
    return pb.StoreResponse(
        request_id=deposited.request_id,
        entry_id=format_entry_id(entry.entry_id) if entry else "",
        stored=entry is not None,
        reason=utf8(deposited.reason),
        detail=utf8(deposited.detail),
        expire_time=timestamp(entry.expires_s) if entry else None,
        cost=cost_message(deposited.cost),
    )


def explain_response(
    explanation: Explanation, *, policy: str, embedder_fingerprint: str, max_candidates: int, now_s: float
) -> pb.ExplainResponse:
    """Return the message of an Explain.

    Args:
        explanation: what would happen to the request.
        policy: the decision policy's name.
        embedder_fingerprint: the embedder's.
        max_candidates: how many candidates to show at most; 0 for all.
        now_s: wall-clock seconds, for the candidates' ages.
    """
    keyed, decision = explanation.keyed, explanation.decision
    semantic = keyed.cacheability.tier is Tier.SEMANTIC
    judgements = decision.judgements[: max_candidates or None] if decision else ()
    return pb.ExplainResponse(
        request_id=explanation.request_id,
        status=STATUSES[explanation.status],
        reason=utf8(explanation.reason),
        detail=utf8(explanation.detail),
        cacheability=_CACHEABILITIES[keyed.cacheability.tier],
        cacheability_reason=utf8(keyed.cacheability.reason),
        exact_key=keyed.exact_key.hex(),
        partition=keyed.partition.hex() if semantic else "",
        partition_entries=explanation.partition_entries,
        embedded_text=utf8(keyed.text) if semantic else "",
        embedded_tokens=explanation.embedded_tokens,
        embedder_fingerprint=embedder_fingerprint,
        policy=policy,
        effective_threshold=decision.threshold if decision else None,
        exact_entry_id=format_entry_id(explanation.exact_entry_id),
        candidates=[_candidate(item, decision.threshold, now_s) for item in judgements] if decision else (),
        requested_model=utf8(keyed.alias),
        task_type=utf8(keyed.task.task_type),
        task_type_reason=utf8(keyed.task.reason),
        complexity=utf8(keyed.task.complexity),
        complexity_reason=utf8(keyed.task.complexity_reason),
        candidate_models=[utf8(model) for model in explanation.models],
    )


def outcome(response: Response) -> pb.Outcome:
    """Return what happened to a request, as every response carries it."""
    message = pb.Outcome()
    fill_outcome(message, response)
    return message


def entry_message(entry: Entry) -> pb.Entry:
    """Return an entry as ListEntries shows it."""
    answer = entry.answer
    return pb.Entry(
        entry_id=format_entry_id(entry.entry_id),
        namespace=utf8(entry.namespace),
        requested_model=utf8(entry.alias),
        served_model=utf8(answer.model),
        degraded=answer.degraded,
        task_type=utf8(entry.task_type),
        tags=[utf8(tag) for tag in entry.tags],
        sources=[utf8(source) for source in entry.sources],
        text=utf8(entry.text),
        create_time=timestamp(entry.created_s),
        expire_time=timestamp(entry.expires_s),
        answer_bytes=len(answer.body),
        usage=usage_message(answer.usage),
        cost=cost_message(entry.cost),
        template_id=utf8(entry.template_id),
        knowledge_version=utf8(entry.knowledge_version),
        route=utf8(answer.route),
    )


def usage_message(usage: Usage) -> pb.Usage:
    """Return the tokens of a call."""
    message = pb.Usage()
    fill_usage(message, usage)
    return message


def cost_message(cost: Cost) -> pb.Cost:
    """Return the price of a call."""
    message = pb.Cost()
    fill_cost(message, cost)
    return message


def request_counts(counts: Mapping[Status, int]) -> pb.RequestCounts:
    """Return requests by status, with their sum."""
    return pb.RequestCounts(total=sum(counts.values()), **{status.value: count for status, count in counts.items()})


def duration(seconds: float) -> Duration:
    """Return seconds as a protobuf duration, to the nanosecond."""
    whole, nanos = seconds_and_nanos(seconds)
    return Duration(seconds=whole, nanos=nanos)


def timestamp(wall_s: float) -> Timestamp:
    """Return wall-clock seconds as a protobuf timestamp, to the nanosecond."""
    seconds, nanos = divmod(round(wall_s * NANOS_PER_S), NANOS_PER_S)
    return Timestamp(seconds=seconds, nanos=nanos)


def _candidate(judgement: Judgement, threshold: float, now_s: float) -> pb.Candidate:
    entry = judgement.candidate.entry
    return pb.Candidate(
        entry_id=format_entry_id(entry.entry_id),
        similarity=judgement.candidate.similarity,
        text=utf8(entry.text),
        guard_verdicts=verdict_messages(judgement.verdicts),
        threshold=threshold,
        served=judgement.served,
        reason=utf8(judgement.reason),
        age=duration(max(0.0, now_s - entry.created_s)),
        served_model=utf8(entry.answer.model),
        score=judgement.score,
    )
