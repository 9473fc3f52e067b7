"""Requests that upstreams take in other forms than OpenAI's: forwarded as they came, on every way of a request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from semcache.testing.serving import serving
from semcache.v1 import semcache_pb2 as pb

USER = {"role": "user", "content": "Where is my order?"}


def body(*turns: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"model": "gpt-4o-mini", "messages": list(turns or [USER]), **fields}).encode()


ODD = {
    "an empty user turn": body({"role": "user", "content": ""}, {"role": "assistant", "content": "Hi"}, USER),
    "nothing but an empty turn": body({"role": "user", "content": ""}),
    "a turn without content": body({"role": "user"}),
    "the role observation": body({"role": "observation", "content": "rain"}, USER),
    "the role ipython": body(USER, {"role": "ipython", "content": "3"}),
    "the role control": body({"role": "control", "content": "thinking"}, USER),
    "the role document": body({"role": "document", "content": "A page."}, USER),
    "max_tokens -1": body(max_tokens=-1),
    "max_tokens 0": body(max_tokens=0),
    "max_tokens as text": body(max_tokens="9"),
    "max_tokens beyond 64 bits": body(max_tokens=2**70),
    "temperature 2.5": body(temperature=2.5),
    "temperature as text": body(temperature="0.7"),
    "logprobs 5": body(logprobs=5),
    "user 42": body(user=42),
    "n 0": body(n=0),
    "seed as text": body(seed="7"),
    "seed beyond 64 bits": body(seed=2**70),
    "stop as an empty list": body(stop=[]),
    "tools null": body(tools=None),
    "tools as an object": body(tools={}),
    "response_format as text": body(response_format="json"),
    "content as an object": body({"role": "user", "content": {"text": "hi"}}),
    "content as a list of texts": body({"role": "user", "content": ["hi", "there"]}),
    "a part without a type": body({"role": "user", "content": [{"text": "hi"}]}),
    "a byte order mark": b"\xef\xbb\xbf" + body(),
}
BYPASSED = {
    "max_tokens as text": "unknown_form",
    "temperature 2.5": "temperature",
    "temperature as text": "unknown_form",
    "logprobs 5": "logprobs",
    "seed as text": "unknown_form",
    "tools as an object": "unknown_form",
    "response_format as text": "unknown_form",
    "content as an object": "unknown_form",
    "content as a list of texts": "unknown_form",
    "a part without a type": "unknown_form",
}


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_request_is_answered_on_every_way(name: str) -> None:
    odd = pb.Prompt(openai_json=ODD[name])
    # A budget computes with the request's own limits before the call.
    budget = {"costs": {"budgets": [{"name": "all", "limit_usd": 1_000_000}]}}
    limited = {} if name == "max_tokens beyond 64 bits" else budget
    async with serving(limited) as served:
        first = await served.stub.Complete(pb.CompleteRequest(prompt=odd))
        again = await served.stub.Complete(pb.CompleteRequest(prompt=odd))
        assert served.upstream.calls[0].body == ODD[name]
        if name in BYPASSED:
            assert first.outcome.status == again.outcome.status == pb.STATUS_BYPASS
            assert first.outcome.reason == BYPASSED[name]
        else:
            assert (first.outcome.status, first.outcome.stored) == (pb.STATUS_MISS, True)
            assert again.outcome.status == pb.STATUS_EXACT_HIT
        frames = [frame async for frame in served.stub.CompleteStream(pb.CompleteStreamRequest(prompt=odd))]
        assert frames[-1].HasField("finished")
        assert (await served.stub.Explain(pb.ExplainRequest(prompt=odd))).reason
        await served.stub.Lookup(pb.LookupRequest(prompt=odd))
        stored = await served.stub.Store(pb.StoreRequest(prompt=odd, text="mine"))
        assert stored.reason == BYPASSED.get(name, "")


async def test_a_typed_request_may_have_an_empty_turn() -> None:
    turns = [
        pb.ChatMessage(role="user", text=""),
        pb.ChatMessage(role="assistant", text="Hi"),
        pb.ChatMessage(role="user", text="Where is my order?"),
    ]
    typed = pb.Prompt(chat=pb.ChatRequest(model="gpt-4o-mini", messages=turns))
    async with serving() as served:
        assert (await served.stub.Complete(pb.CompleteRequest(prompt=typed))).outcome.stored
