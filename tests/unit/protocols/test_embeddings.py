"""Embeddings as an upstream sends them: read, joined in one call, and divided again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcache.errors import UpstreamError
from semcache.long_work import LongWork
from semcache.model import Answer, ApiProtocol, LostAnswer, UpstreamCall, Usage
from semcache.protocols.embeddings import FORM, divide, joined_body
from semcache.testing.upstream import embeddings_body
from semcache.upstream.batches import Batches


def call_for(given: object, *, batch: str = "b", barred: frozenset[str] = frozenset()) -> UpstreamCall:
    body = json.dumps({"model": "e", "input": given}).encode()
    return UpstreamCall(
        alias="e",
        body=body,
        deadline_s=9.0,
        request_id="r",
        protocol=ApiProtocol.EMBEDDINGS,
        batch=batch,
        barred=barred,
    )


def read(texts: list[str], tokens: int = 10) -> Answer:
    return FORM.read(embeddings_body(texts, usage=Usage(input_tokens=tokens)))


def test_the_usage_is_the_input_alone() -> None:
    answer = read(["a"])
    assert (answer.usage, answer.model, answer.finish_reason) == (Usage(input_tokens=10), "scripted", "stop")


def test_without_a_usage_it_is_to_be_estimated() -> None:
    assert FORM.read(embeddings_body(["a"], usage=None)).usage == Usage(estimated=True)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"data": []}',
        b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 0, "embedding": ""}]}',
        b'{"data": [{"embedding": [1]}]}',
        b'{"data": [{"index": true, "embedding": [1]}]}',
        b'{"data": [3]}',
        b'{"data": {"index": 0}}',
        b'{"error": {"message": "no"}}',
        b'{"choices": [{"message": {"content": "hi"}}]}',
        b"<html>",
    ],
)
def test_what_is_no_embedding_is_a_failure(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        FORM.read(body)


@given(weights=st.lists(st.integers(1, 9_000), min_size=1, max_size=40), tokens=st.integers(0, 10**7))
def test_shares_of_the_usage_add_up(weights: list[int], tokens: int) -> None:
    texts = [f"text {position}" for position in range(len(weights))]
    parts = divide(read(texts, tokens), weights)
    assert sum(part.usage.input_tokens for part in parts) == tokens
    for text, part in zip(texts, parts, strict=True):
        value = json.loads(part.body)
        assert [vector["index"] for vector in value["data"]] == [0]
        assert value["data"][0]["embedding"][0] == len(text)
        assert value["usage"]["prompt_tokens"] == value["usage"]["total_tokens"] == part.usage.input_tokens
        assert FORM.read(part.body).usage.input_tokens == part.usage.input_tokens
        assert part.usage.input_tokens or tokens < len(weights)


def test_vectors_are_divided_by_their_index_and_not_by_their_place() -> None:
    value = json.loads(embeddings_body(["a", "bb"]))
    value["data"].reverse()
    first, second = divide(FORM.read(json.dumps(value).encode()), [1, 2])
    assert json.loads(first.body)["data"][0]["embedding"][0] == 1
    assert json.loads(second.body)["data"][0]["embedding"][0] == 2


@pytest.mark.parametrize("indices", [[0], [0, 1, 2], [0, 0], [1, 2], [0, 2]])
def test_another_number_of_vectors_is_a_failure(indices: list[int]) -> None:
    value: dict[str, Any] = json.loads(embeddings_body(["x"] * len(indices)))
    for vector, index in zip(value["data"], indices, strict=True):
        vector["index"] = index
    with pytest.raises(UpstreamError, match="embeddings for 2 inputs"):
        divide(FORM.read(json.dumps(value).encode()), [1, 1])


def test_joined_bodies_keep_their_common_fields_and_their_order() -> None:
    body, sizes = joined_body([call_for("abc").body, call_for([7, 8]).body])
    assert json.loads(body) == {"model": "e", "input": ["abc", [7, 8]]}
    assert sizes == [3, 2]


class Asked:
    def __init__(self, error: Exception | None = None, vectors: int | None = None) -> None:
        self.calls: list[UpstreamCall] = []
        self.error = error
        self.vectors = vectors

    async def __call__(self, call: UpstreamCall) -> Answer:
        self.calls.append(call)
        if self.error is not None:
            raise self.error
        given = json.loads(call.body)["input"]
        texts = given if isinstance(given, list) else [given]
        return read(texts[: self.vectors] if self.vectors is not None else texts, tokens=6)


async def test_the_calls_of_a_batch_are_sent_as_one() -> None:
    ask = Asked()
    batches = Batches(ask, LongWork())
    answers = await asyncio.gather(*(batches.complete(call_for(text)) for text in ("a", "bb", "ccc")))
    assert [json.loads(call.body)["input"] for call in ask.calls] == [["a", "bb", "ccc"]]
    assert [json.loads(answer.body)["data"][0]["embedding"][0] for answer in answers] == [1, 2, 3]
    assert [answer.usage.input_tokens for answer in answers] == [1, 2, 3]


async def test_a_lone_call_is_sent_as_it_is() -> None:
    ask = Asked()
    call = call_for("a")
    await Batches(ask, LongWork()).complete(call)
    assert ask.calls == [call]


async def test_other_batches_and_other_models_are_other_calls() -> None:
    ask = Asked()
    batches = Batches(ask, LongWork())
    calls = [call_for("a"), call_for("b", batch="c"), call_for("d", barred=frozenset({"m"}))]
    await asyncio.gather(*map(batches.complete, calls))
    assert sorted(json.loads(call.body)["input"] for call in ask.calls) == ["a", "b", "d"]


async def test_a_failure_is_every_calls() -> None:
    batches = Batches(Asked(UpstreamError("It failed.")), LongWork())
    ended = await asyncio.gather(*(batches.complete(call_for(text)) for text in "abc"), return_exceptions=True)
    assert [str(error) for error in ended] == ["It failed."] * 3


async def test_an_answer_that_cant_be_divided_is_booked_by_each_call() -> None:
    calls = [call_for("a"), call_for("bb")]
    batches = Batches(Asked(vectors=1), LongWork())
    ended = await asyncio.gather(*map(batches.complete, calls), return_exceptions=True)
    assert all(isinstance(error, UpstreamError) for error in ended)
    assert [[lost.usage for lost in call.lost] for call in calls] == [[Usage(estimated=True)]] * 2


async def test_what_cancelled_calls_have_lost_is_known_when_they_end() -> None:
    async def never(call: UpstreamCall) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            call.lost.append(LostAnswer("e", Usage(estimated=True)))
        raise AssertionError

    calls = [call_for(text) for text in ("a", "bb", "ccc")]
    batches = Batches(never, LongWork())
    tasks = [asyncio.ensure_future(batches.complete(call)) for call in calls]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(error, asyncio.CancelledError) for error in ended)
    assert [len(call.lost) for call in calls] == [1, 1, 1]


async def test_a_batch_that_is_given_up_before_it_is_sent_asks_nobody() -> None:
    ask = Asked()
    batches = Batches(ask, LongWork())
    task = asyncio.ensure_future(batches.complete(call_for("a")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert ask.calls == []
    await batches.complete(call_for("a"))
    assert len(ask.calls) == 1
