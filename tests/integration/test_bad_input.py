"""Whatever callers send: a clear status with a reason, nothing stored, and the next call is served."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from semcache.model import Usage
from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream, completion_body
from semcache.v1 import semcache_pb2 as pb
from tests.integration.calls import body, complete, control, prompt, reason_of

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NAMES = ["with space", "-first", "ümlaut", "a\nb", "a\0b", "x" * 129, "a/../b\t"]
NO_NAMES = [" ", *NAMES]


def raw(value: object) -> pb.Prompt:
    return pb.Prompt(openai_json=value if isinstance(value, bytes) else json.dumps(value).encode())


def asked(*messages: object, **fields: object) -> pb.Prompt:
    return raw({"model": "gpt-4o-mini", "messages": list(messages), **fields})


USER = {"role": "user", "content": "hi"}

BAD_BODIES: Sequence[tuple[pb.Prompt, str]] = [
    (pb.Prompt(), "INVALID_REQUEST"),
    (asked(), "EMPTY_MESSAGES"),
    (raw({"model": "m", "messages": None}), "EMPTY_MESSAGES"),
    (raw({"model": "m"}), "EMPTY_MESSAGES"),
    (asked({"role": ["user"], "content": "hi"}), "UNKNOWN_ROLE"),
    (asked({"role": {"a": 1}, "content": "hi"}), "UNKNOWN_ROLE"),
    (asked({"role": None, "content": "hi"}), "UNKNOWN_ROLE"),
    (asked({"content": "hi"}), "UNKNOWN_ROLE"),
    (asked({"role": "", "content": "hi"}), "UNKNOWN_ROLE"),
    (pb.Prompt(chat=pb.ChatRequest(model="m", messages=[pb.ChatMessage(text="hi")])), "UNKNOWN_ROLE"),
    (asked("hi"), "INVALID_MESSAGE"),
    (asked(None), "INVALID_MESSAGE"),
    (raw({"model": "m", "messages": {"role": "user"}}), "INVALID_PARAMETER"),
    (raw({"model": "m", "messages": "hi"}), "INVALID_PARAMETER"),
    (raw({"messages": [USER]}), "NO_MODEL"),
    (raw({"model": "", "messages": [USER]}), "NO_MODEL"),
    (raw({"model": None, "messages": [USER]}), "NO_MODEL"),
    (raw({"model": 5, "messages": [USER]}), "INVALID_PARAMETER"),
    (raw(b'{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":1e999}'), "INVALID_PARAMETER"),
    (raw(b"{"), "INVALID_JSON"),
    (raw(b""), "INVALID_JSON"),
    (raw(b"[]"), "INVALID_JSON"),
    (raw(b"null"), "INVALID_JSON"),
    (raw(b"\xff\xfe{}"), "INVALID_JSON"),
    (raw(b"\xef\xbb\xbf\xef\xbb\xbf{}"), "INVALID_JSON"),
    (raw(b'{"model":"m","seed":NaN,"messages":[{"role":"user","content":"hi"}]}'), "INVALID_JSON"),
    (raw(b'{"model":"m","seed":%s,"messages":[{"role":"user","content":"hi"}]}' % (b"9" * 5000)), "INVALID_JSON"),
    (raw(b'{"model":"m","model":"n","messages":[{"role":"user","content":"hi"}]}'), "DUPLICATE_KEY"),
    (raw(b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}'), "INVALID_TEXT"),
    (raw(b'{"model":"\\udfff","messages":[{"role":"user","content":"hi"}]}'), "INVALID_TEXT"),
    (raw(b'{"model":"m","\\ud800":1,"messages":[{"role":"user","content":"hi"}]}'), "INVALID_TEXT"),
    (raw(b"[" * 10_000), "JSON_TOO_DEEP"),
    (raw(b'{"a":' * 10_000), "JSON_TOO_DEEP"),
    (raw(b"[" * 100_000), "TOO_MANY_VALUES"),
    (raw(b'{"a":' * 100_000), "TOO_MANY_VALUES"),
    (asked(USER, metadata={"a": json.loads("[" * 100 + "]" * 100)}), "JSON_TOO_DEEP"),
    (asked(USER, extra=json.loads("[" * 100 + "]" * 100)), "JSON_TOO_DEEP"),
    (pb.Prompt(chat=pb.ChatRequest(model="m")), "EMPTY_MESSAGES"),
    (pb.Prompt(chat=pb.ChatRequest(messages=[pb.ChatMessage(role="user", text="hi")])), "NO_MODEL"),
    (
        pb.Prompt(
            chat=pb.ChatRequest(model="m", messages=[pb.ChatMessage(role="user", text="hi")], temperature=float("nan"))
        ),
        "INVALID_REQUEST",
    ),
    (
        pb.Prompt(
            chat=pb.ChatRequest(
                model="m", messages=[pb.ChatMessage(role="user", text="hi")], extra_json=b'{"model":"other"}'
            )
        ),
        "INVALID_REQUEST",
    ),
    (pb.Prompt(text=pb.TextPrompt(model="m", text="")), "EMPTY_MESSAGE"),
    (pb.Prompt(text=pb.TextPrompt(text="hi")), "NO_MODEL"),
]


async def refused(
    served: Served, method: str, request: Message, *, code: grpc.StatusCode = INVALID, reason: str = ""
) -> None:
    """The call ends with `code` and `reason`, nothing was asked or stored, and the next call is served."""
    before = (await served.stub.GetStats(pb.GetStatsRequest())).entries
    calls = len(served.upstream.calls)
    call = getattr(served.stub, method)(request)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await (_read_all(call) if method in {"CompleteStream", "ListEntries"} else call)
    assert error.value.code() is code, error.value.details()
    assert reason_of(error.value) == (reason or "INVALID_REQUEST")
    assert error.value.details().endswith((".", "'"))
    assert (await served.stub.GetStats(pb.GetStatsRequest())).entries == before
    assert len(served.upstream.calls) == calls


async def _read_all(call: AsyncIterable[Message]) -> None:
    async for _ in call:
        pass


async def still_serves(served: Served) -> None:
    assert (await complete(served, "Is anybody there?")).text == "Answer to: Is anybody there?"


async def test_bodies_that_are_none() -> None:
    async with serving() as served:
        for bad, reason in BAD_BODIES:
            await refused(served, "Complete", pb.CompleteRequest(prompt=bad), reason=reason)
            await refused(served, "CompleteStream", pb.CompleteStreamRequest(prompt=bad), reason=reason)
            await refused(served, "Lookup", pb.LookupRequest(prompt=bad), reason=reason)
            await refused(served, "Store", pb.StoreRequest(prompt=bad, text="mine"), reason=reason)
            await refused(served, "Explain", pb.ExplainRequest(prompt=bad), reason=reason)
        await still_serves(served)


async def test_an_unknown_model() -> None:
    async with serving(upstream=ScriptedUpstream(models={"gpt-4o-mini": "x"})) as served:
        unknown = pb.CompleteRequest(prompt=prompt("hi", model="nobody"))
        await refused(served, "Complete", unknown, code=grpc.StatusCode.NOT_FOUND, reason="UNKNOWN_MODEL")
        streamed = pb.CompleteStreamRequest(prompt=prompt("hi", model="nobody"))
        await refused(served, "CompleteStream", streamed, code=grpc.StatusCode.NOT_FOUND, reason="UNKNOWN_MODEL")
        await still_serves(served)


async def test_a_models_name_without_end_is_refused() -> None:
    async with serving() as served:
        huge = pb.CompleteRequest(prompt=prompt("hi", model="m" * 257))
        await refused(served, "Complete", huge, reason="INVALID_PARAMETER")
        assert (await complete(served, "hi", model="m" * 256)).outcome.stored


async def test_an_answer_under_a_name_without_end_is_served_stored_and_booked() -> None:
    endless = Scripted(model="m" * 100_000, usage=Usage(7, 0, 3))
    async with serving(upstream=ScriptedUpstream(lambda _: endless)) as served:
        assert (await complete(served, "hi")).outcome.stored
        assert (await complete(served, "hi")).outcome.status == pb.STATUS_EXACT_HIT
        answer = completion_body("mine", model="m" * 100_000, finish_reason="stop")
        assert (await served.stub.Store(pb.StoreRequest(prompt=prompt("other"), openai_json=answer))).stored
        odd = pb.StoreRequest(prompt=prompt("third"), text="mine", finish_reason="f" * 100_000)
        assert (await served.stub.Store(odd)).reason == "unknown_finish_reason:" + "f" * 64
        savings = await served.stub.GetSavings(pb.GetSavingsRequest())
        assert savings.total.requests.total == 2
        assert savings.total.spent_usage.input_tokens >= 7


@pytest.mark.parametrize("name", NO_NAMES)
async def test_names_with_forbidden_characters_or_too_long(name: str) -> None:
    async with serving() as served:
        good = body("hi")
        for bad in (
            pb.Prompt(openai_json=good, namespace=name),
            pb.Prompt(openai_json=good, task_type=name),
            pb.Prompt(openai_json=good, knowledge_version=name),
            pb.Prompt(openai_json=good, template=pb.TemplateUse(id=name)),
            pb.Prompt(openai_json=good, template=pb.TemplateUse(id="t", slots=[pb.Slot(name=name, value="v")])),
        ):
            await refused(served, "Complete", pb.CompleteRequest(prompt=bad), reason="INVALID_NAME")
            await refused(served, "Lookup", pb.LookupRequest(prompt=bad), reason="INVALID_NAME")
            await refused(served, "Store", pb.StoreRequest(prompt=bad, text="mine"), reason="INVALID_NAME")
        for field in ("tags", "sources"):
            fields: dict[str, Any] = {"prompt": prompt("hi"), field: [name]}
            await refused(served, "Complete", pb.CompleteRequest(**fields), reason="INVALID_NAME")
            await refused(served, "Store", pb.StoreRequest(text="mine", **fields), reason="INVALID_NAME")
            await refused(served, "Invalidate", pb.InvalidateRequest(**{field: [name]}), reason="INVALID_NAME")
        await refused(served, "Invalidate", pb.InvalidateRequest(namespace=name), reason="INVALID_NAME")
        await still_serves(served)


async def test_tags_that_are_empty_or_too_many() -> None:
    async with serving({"limits": {"tags": 3}}) as served:
        empty = pb.CompleteRequest(prompt=prompt("hi"), tags=[""])
        await refused(served, "Complete", empty, reason="INVALID_NAME")
        many = pb.CompleteRequest(prompt=prompt("hi"), tags=["a", "b", "c", "d"])
        await refused(served, "Complete", many, reason="TOO_MANY_TAGS")
        await still_serves(served)


@pytest.mark.parametrize(
    "template",
    [
        pb.TemplateUse(),
        pb.TemplateUse(id="t", slots=[pb.Slot(value="v")]),
        pb.TemplateUse(id="t", slots=[pb.Slot(name="a"), pb.Slot(name="a")]),
    ],
)
async def test_templates_that_are_none(template: pb.TemplateUse) -> None:
    async with serving() as served:
        bad = pb.CompleteRequest(prompt=pb.Prompt(openai_json=body("hi"), template=template))
        await refused(served, "Complete", bad, reason="INVALID_TEMPLATE")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ttl": Duration()}, "INVALID_TTL"),
        ({"ttl": Duration(seconds=-1)}, "INVALID_TTL"),
        ({"ttl": Duration(seconds=1, nanos=-1_500_000_000)}, "INVALID_TTL"),
        ({"max_age": Duration(seconds=-1)}, "INVALID_MAX_AGE"),
        ({"similarity_threshold": 1.01}, "INVALID_THRESHOLD"),
        ({"similarity_threshold": -1.01}, "INVALID_THRESHOLD"),
        ({"similarity_threshold": float("nan")}, "INVALID_THRESHOLD"),
        ({"similarity_threshold": float("inf")}, "INVALID_THRESHOLD"),
        ({"mode": 17}, "INVALID_REQUEST"),
    ],
)
async def test_wishes_that_cannot_be(fields: dict[str, Any], reason: str) -> None:
    async with serving() as served:
        wish = control(**fields)
        await refused(served, "Complete", pb.CompleteRequest(prompt=prompt("hi"), control=wish), reason=reason)
        await refused(
            served, "CompleteStream", pb.CompleteStreamRequest(prompt=prompt("hi"), control=wish), reason=reason
        )
        await refused(served, "Lookup", pb.LookupRequest(prompt=prompt("hi"), control=wish), reason=reason)
        await refused(served, "Explain", pb.ExplainRequest(prompt=prompt("hi"), control=wish), reason=reason)
        if "ttl" in fields:
            kept = pb.StoreRequest(prompt=prompt("hi"), text="mine", ttl=fields["ttl"])
            await refused(served, "Store", kept, reason=reason)
        await still_serves(served)


@pytest.mark.parametrize("seconds", [10**9, 2**62, 2**63 - 1])
async def test_times_beyond_all_measure_are_cut(seconds: int) -> None:
    async with serving() as served:
        wish = control(ttl=Duration(seconds=seconds), max_age=Duration(seconds=seconds))
        assert (await complete(served, "hi", control=wish)).outcome.stored
        assert (await complete(served, "hi", control=wish)).outcome.status == pb.STATUS_EXACT_HIT
        asked = pb.LookupRequest(prompt=prompt("other"), want_lease=True, lease_ttl=Duration(seconds=seconds))
        held = await served.stub.Lookup(asked)
        assert held.lease.lease_id
        old = pb.InvalidateRequest(older_than=Duration(seconds=seconds))
        assert (await served.stub.Invalidate(old)).matched_count == 0


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"openai_json": b""},
        {"openai_json": b"{"},
        {"openai_json": b"[" * 10_000},
        {"openai_json": b"[]"},
        {"openai_json": b"null"},
        {"openai_json": b"{}"},
        {"openai_json": b'{"choices":[]}'},
        {"openai_json": b'{"choices":{}}'},
        {"openai_json": b'{"choices":[{"message":"hi"}]}'},
        {"openai_json": b'{"choices":[{"message":{"content":NaN}}]}'},
        {"openai_json": b'{"choices":[{"message":{}}],"created":%s}' % (b"9" * 5000)},
        {"text": "mine", "usage": pb.Usage(input_tokens=-1)},
        {"text": "mine", "usage": pb.Usage(input_tokens=2**62)},
        {"text": "mine", "usage": pb.Usage(input_tokens=1, cached_input_tokens=2)},
        {"text": "mine", "upstream_latency": Duration(seconds=-1)},
        {"text": "mine", "embedding": pb.Embedding(values=[0.0] * 384, embedder_fingerprint="hashing-384")},
        {"text": "mine", "embedding": pb.Embedding(values=[float("nan")] * 384, embedder_fingerprint="hashing-384")},
        {"text": "mine", "embedding": pb.Embedding(values=[float("inf")] * 384, embedder_fingerprint="hashing-384")},
        {"text": "mine", "embedding": pb.Embedding(values=[], embedder_fingerprint="hashing-384")},
        {"text": "mine", "embedding": pb.Embedding(values=[1.0] * 384)},
    ],
)
async def test_answers_that_are_none(answer: dict[str, Any]) -> None:
    async with serving() as served:
        await refused(served, "Store", pb.StoreRequest(prompt=prompt("hi"), **answer))
        await still_serves(served)


async def test_a_store_that_says_nothing_of_its_request() -> None:
    async with serving() as served:
        await refused(served, "Store", pb.StoreRequest(text="mine"))


@pytest.mark.parametrize(
    "content",
    [b'"\\ud83d"', b'"half \\ud83d\\ud83d"', b'"a\\u0000b"', b'"\\udc00 and back"'],
)
async def test_an_answer_whose_escapes_are_no_text_is_kept_all_the_same(content: bytes) -> None:
    """Models do end in the middle of an emoji: what was paid for is served, and the text is well-formed."""
    answer = (
        b'{"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":%s},'
        b'"finish_reason":"stop"}]}' % content
    )
    async with serving() as served:
        assert (await served.stub.Store(pb.StoreRequest(prompt=prompt("hi"), openai_json=answer))).stored
        found = await served.stub.Lookup(pb.LookupRequest(prompt=prompt("hi")))
        assert found.outcome.status == pb.STATUS_EXACT_HIT
        assert found.openai_json == answer
        assert found.text
        chunks = [f async for f in served.stub.CompleteStream(pb.CompleteStreamRequest(prompt=prompt("hi")))]
        assert chunks[-1].HasField("finished")


@pytest.mark.parametrize("entry_id", ["", "e", "x1", "1", "e-1", "e+1", "e 1", "e1_0", "e0x1", "e0", "e" * 40, "ezz"])
async def test_ids_that_have_not_the_form_of_one(entry_id: str) -> None:
    async with serving() as served:
        await complete(served, "hi")
        await refused(served, "Invalidate", pb.InvalidateRequest(entry_ids=[entry_id], apply=True))


async def test_ids_that_are_nobodys() -> None:
    async with serving() as served:
        await complete(served, "hi")
        nobodys = pb.InvalidateRequest(entry_ids=["effffffffffffffff", "e7"], apply=True)
        assert (await served.stub.Invalidate(nobodys)).matched_count == 0
        for hit_id in ("nobody", "x" * 100_000, "\0", "é"):
            verdict = pb.ReportVerdictRequest(hit_id=hit_id, verdict=pb.VERDICT_WRONG)
            code = grpc.StatusCode.NOT_FOUND
            await refused(served, "ReportVerdict", verdict, code=code, reason="HIT_NOT_FOUND")
        forgotten = pb.StoreRequest(lookup_id="x" * 100_000, text="mine")
        code = grpc.StatusCode.FAILED_PRECONDITION
        await refused(served, "Store", forgotten, code=code, reason="LOOKUP_FORGOTTEN")
        leased = pb.StoreRequest(prompt=prompt("other"), text="mine", lease_id="nobody's")
        await refused(served, "Store", leased, code=code, reason="LEASE_EXPIRED")


@pytest.mark.parametrize(
    "verdict",
    [
        pb.ReportVerdictRequest(verdict=pb.VERDICT_WRONG),
        pb.ReportVerdictRequest(hit_id="h"),
        pb.ReportVerdictRequest(hit_id="h", verdict=9),  # type: ignore[arg-type]
        pb.ReportVerdictRequest(hit_id="h", verdict=pb.VERDICT_WRONG, note="x" * 4097),
    ],
)
async def test_verdicts_that_judge_nothing(verdict: pb.ReportVerdictRequest) -> None:
    async with serving() as served:
        await refused(served, "ReportVerdict", verdict)


@pytest.mark.parametrize(
    "request_",
    [
        pb.InvalidateRequest(apply=True),
        pb.InvalidateRequest(all=True, tags=["red"], apply=True),
        pb.InvalidateRequest(older_than=Duration(), apply=True),
        pb.InvalidateRequest(older_than=Duration(seconds=-5), apply=True),
        pb.InvalidateRequest(created_before=Timestamp(seconds=-1), apply=True),
        pb.InvalidateRequest(created_before=Timestamp(seconds=2**62), apply=True),
        pb.InvalidateRequest(created_before=Timestamp(seconds=1, nanos=-1), apply=True),
    ],
)
async def test_invalidations_that_name_nothing_or_too_much(request_: pb.InvalidateRequest) -> None:
    async with serving() as served:
        await complete(served, "hi")
        await refused(served, "Invalidate", request_)


@pytest.mark.parametrize(
    "request_",
    [
        pb.GetSavingsRequest(start_time=Timestamp(seconds=10), end_time=Timestamp(seconds=10)),
        pb.GetSavingsRequest(start_time=Timestamp(seconds=2**62)),
        pb.GetSavingsRequest(start_time=Timestamp(seconds=-1)),
        pb.GetSavingsRequest(end_time=Timestamp(seconds=2**62)),
        pb.GetSavingsRequest(end_time=Timestamp(seconds=2**63 - 1)),
        pb.GetSavingsRequest(group_by=[0]),  # type: ignore[list-item]
        pb.GetSavingsRequest(group_by=[99]),  # type: ignore[list-item]
        pb.GetSavingsRequest(group_by=[pb.SAVINGS_GROUP_HOUR, pb.SAVINGS_GROUP_DAY]),
        pb.GetSavingsRequest(group_by=[pb.SAVINGS_GROUP_MODEL, pb.SAVINGS_GROUP_MODEL]),
    ],
)
async def test_savings_of_no_time_or_no_group(request_: pb.GetSavingsRequest) -> None:
    async with serving() as served:
        await refused(served, "GetSavings", request_)


async def test_savings_to_the_end_of_time() -> None:
    async with serving() as served:
        await complete(served, "hi")
        request = pb.GetSavingsRequest(end_time=Timestamp(seconds=253_402_300_799))
        assert (await served.stub.GetSavings(request)).total.requests.total == 1


async def test_lists_and_explanations_with_negative_limits() -> None:
    async with serving() as served:
        await refused(served, "ListEntries", pb.ListEntriesRequest(limit=-1))
        await refused(served, "Explain", pb.ExplainRequest(prompt=prompt("hi"), max_candidates=-1))
        await refused(served, "Lookup", pb.LookupRequest(prompt=prompt("hi"), lease_ttl=Duration(), want_lease=True))


async def test_a_no_store_lookup_does_not_forbid_the_store_that_follows() -> None:
    """In a Lookup `no_store` and `ttl` have no effect, says the contract."""
    async with serving() as served:
        wish = control(no_store=True, ttl=Duration(seconds=1))
        missed = await served.stub.Lookup(pb.LookupRequest(prompt=prompt("hi"), control=wish))
        stored = await served.stub.Store(pb.StoreRequest(lookup_id=missed.lookup_id, text="mine"))
        assert (stored.stored, stored.reason) == (True, "")
        assert stored.expire_time.seconds > 0
