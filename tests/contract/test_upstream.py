"""The contract of every Upstream, over the scripted one and over the one for HTTP."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from semcache.errors import OverLimitError, UnknownModelError, UpstreamError, UpstreamRefusedError
from semcache.model import Answer, PassedCall, UpstreamCall, Usage
from semcache.protocols import replay_chunks
from semcache.settings import RetrySettings, Route, Target, UpstreamSettings
from semcache.testing.clock import FakeClock
from semcache.testing.upstream import Scripted, ScriptedReply, ScriptedUpstream, completion_body
from semcache.testing.upstream_server import Ending, Reply, ScriptedServer, events, failure, plain
from semcache.upstream import HttpUpstream

TEXT = "Paris, as far as anyone knows, and for a long time by now."
USAGE = Usage(40, 16, 12)
CALLS = ({"id": "c0", "type": "function", "function": {"name": "f", "arguments": "{}"}},)


class InProcess:
    """The scripted upstream, with its script."""

    def __init__(self):
        self._script = Scripted(TEXT, usage=USAGE)
        self.upstream = ScriptedUpstream(lambda _: self._script, models={"fast": "mini"})

    def answer(self, **fields):
        self._script = Scripted(**{"text": TEXT, "usage": USAGE, **fields})

    def refuse(self):
        self._script = Scripted(error=UpstreamRefusedError("no", http_status=400, body=b"no"))

    def break_off(self, gate):
        self._script = Scripted(TEXT, piece_gates=(None, gate), break_after=2)

    def hold(self, gate):
        self._script = Scripted(TEXT, gate=gate)

    async def asked(self):
        await self.upstream.called(1)

    def relay(self, *pieces, status=200, breaks=False):
        headers = ((b"content-type", b"text/x"), (b"retry-after", b"3"))
        self.upstream.reply = ScriptedReply(status, headers, pieces, break_after=len(pieces) - 1 if breaks else None)

    @property
    def passed_body(self):
        return self.upstream.passed[-1].body

    @property
    def bodies(self):
        return self.upstream.bodies


class OverHttp:
    """The upstream over HTTP, in front of a scripted server."""

    def __init__(self, server):
        self._server = server
        self._reply = None
        self.answer()
        server_settings = UpstreamSettings(
            targets=(Target(name="t", base_url=server.base_url),),
            routes=(Route(alias="fast", target="t", model="mini"),),
            retry=RetrySettings(max_retries=0),
        )
        self.upstream = HttpUpstream(server_settings, FakeClock(), environ={})

    def reply(self, request):
        return self._reply(request)

    def answer(self, text=TEXT, usage=USAGE, **fields):
        body = completion_body(text, model="mini", usage=usage, **fields)
        self._reply = lambda request: (
            events(replay_chunks(body, include_usage=True)) if request.streams else plain(body)
        )

    def refuse(self):
        self._reply = lambda _: failure(400, "no")

    def break_off(self, gate):
        chunks = list(replay_chunks(completion_body(TEXT), include_usage=True))[:2]
        self._reply = lambda _: events(chunks, done=False, ending=Ending.CUT, piece_gate=gate)

    def hold(self, gate):
        self._reply = lambda _: plain(completion_body(TEXT), gate=gate)

    async def asked(self):
        await self._server.received(1)

    def relay(self, *pieces, status=200, breaks=False):
        headers = {"content-type": "text/x", "retry-after": "3"}
        sent, ending = (pieces[:-1], Ending.CUT) if breaks else (pieces, Ending.END)
        self._reply = lambda _: Reply(status=status, headers=headers, pieces=sent, chunked=True, ending=ending)

    @property
    def passed_body(self):
        return self._server.requests[-1].body

    @property
    def bodies(self):
        return [request.json for request in self._server.requests]


@asynccontextmanager
async def over_http():
    # The rig needs the server's address, which is known only once the server runs.
    script = []

    def handler(request):
        return script[0](request)

    async with ScriptedServer(handler) as server:
        rig = OverHttp(server)
        script.append(rig.reply)
        yield rig
        await rig.upstream.close()


@pytest.fixture(params=["scripted", "http"])
async def rig(request):
    if request.param == "scripted":
        made = InProcess()
        yield made
        await made.upstream.close()
    else:
        async with over_http() as made:
            yield made


def call(alias="fast"):
    body = {"model": alias, "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    return UpstreamCall(alias=alias, body=json.dumps(body).encode(), deadline_s=100.0, request_id="r1")


async def streamed(upstream):
    return [item async for item in upstream.stream(call())]


async def test_models(rig):
    assert rig.upstream.models("fast") == frozenset({"mini"})
    assert rig.upstream.models("slow") is None


async def test_a_plain_answer(rig):
    answer = await rig.upstream.complete(call())
    assert (answer.text, answer.finish_reason, answer.usage) == (TEXT, "stop", USAGE)
    assert (answer.model, answer.target_model) == ("mini", "mini")
    assert answer.route
    assert not answer.tool_calls
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == TEXT
    assert rig.bodies[0]["messages"][0]["content"] == "What is the capital of France?"


async def test_a_streamed_answer_is_the_same_answer(rig):
    plain_answer = await rig.upstream.complete(call())
    *chunks, answer = await streamed(rig.upstream)
    assert isinstance(answer, Answer)
    assert all(isinstance(chunk, bytes) for chunk in chunks)
    for field in ("text", "finish_reason", "usage", "model", "target_model", "route", "tool_calls"):
        assert getattr(answer, field) == getattr(plain_answer, field)
    parsed = [json.loads(chunk) for chunk in chunks]
    assert {chunk["object"] for chunk in parsed} == {"chat.completion.chunk"}
    assert "".join(c["delta"].get("content") or "" for chunk in parsed for c in chunk["choices"]) == TEXT
    # semcache always asks for the usage; it comes in a chunk without choices.
    assert parsed[-1]["choices"] == []
    assert parsed[-1]["usage"]["prompt_tokens"] == USAGE.input_tokens


async def test_an_answer_without_usage_says_so(rig):
    rig.answer(usage=None)
    assert (await rig.upstream.complete(call())).usage == Usage(estimated=True)
    assert (await streamed(rig.upstream))[-1].usage == Usage(estimated=True)


async def test_tool_calls_are_flagged(rig):
    rig.answer(tool_calls=CALLS, finish_reason="tool_calls")
    for answer in (await rig.upstream.complete(call()), (await streamed(rig.upstream))[-1]):
        assert answer.tool_calls
        assert answer.finish_reason == "tool_calls"
        assert json.loads(answer.body)["choices"][0]["message"]["tool_calls"] == list(CALLS)


async def test_an_unknown_alias(rig):
    with pytest.raises(UnknownModelError):
        await rig.upstream.complete(call("slow"))
    with pytest.raises(UnknownModelError):
        await anext(rig.upstream.stream(call("slow")))
    assert rig.bodies == []


async def test_a_refusal(rig):
    rig.refuse()
    with pytest.raises(UpstreamRefusedError) as caught:
        await rig.upstream.complete(call())
    assert caught.value.http_status == 400
    assert b"no" in caught.value.body
    with pytest.raises(UpstreamRefusedError):
        await streamed(rig.upstream)


async def test_half_a_stream_ends_in_an_error_after_its_chunks(rig):
    gate = asyncio.Event()
    rig.break_off(gate)
    received = []
    with pytest.raises(UpstreamError) as caught:  # noqa: PT012 - the loop is what raises
        async for item in rig.upstream.stream(call()):
            received.append(item)
            gate.set()
    assert caught.value.reason == "UPSTREAM_BROKE_OFF"
    assert received
    assert not any(isinstance(item, Answer) for item in received)


async def test_a_call_may_be_left(rig):
    gate = asyncio.Event()
    rig.hold(gate)
    task = asyncio.create_task(rig.upstream.complete(call()))
    await rig.asked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    rig.answer()
    assert (await rig.upstream.complete(call())).text == TEXT


async def test_a_stream_may_be_left(rig):
    stream = rig.upstream.stream(call())
    assert isinstance(await anext(stream), bytes)
    await stream.aclose()
    assert (await rig.upstream.complete(call())).text == TEXT


async def test_candidates(rig):
    assert rig.upstream.candidates("fast") == ("mini",)
    assert rig.upstream.candidates("fast", task_type="code", complexity="high", degraded=True) == ("mini",)
    assert rig.upstream.candidates("slow") == ()


async def test_a_model_that_is_barred_isnt_asked(rig):
    barred = replace(call(), barred=frozenset({"mini"}))
    with pytest.raises(OverLimitError) as caught:
        await rig.upstream.complete(barred)
    assert caught.value.reason == "MODELS_BARRED"
    with pytest.raises(OverLimitError):
        await anext(rig.upstream.stream(barred))
    assert rig.bodies == []
    assert (await rig.upstream.complete(replace(call(), barred=frozenset({"other"})))).text == TEXT


def passed(alias="fast", body=b'{"model": "fast" }', **fields):
    call = PassedCall(
        method="POST",
        path="files",
        query="",
        content_type=b"application/json",
        accept=b"",
        body=body,
        alias=alias,
        deadline_s=100.0,
        request_id="r1",
        tenant="acme",
    )
    return replace(call, **fields)


async def relayed(upstream, call):
    async with upstream.pass_on(call) as reply:
        return reply, b"".join([piece async for piece in reply.pieces])


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_a_passed_call_gets_the_targets_answer_whatever_its_status(rig, status):
    rig.relay(b"one ", b"two", status=status)
    reply, body = await relayed(rig.upstream, passed())
    assert (reply.status, body) == (status, b"one two")
    assert reply.target
    assert dict(reply.headers).items() >= {b"content-type": b"text/x", b"retry-after": b"3"}.items()


async def test_a_passed_call_is_renamed_for_the_target_and_no_byte_else(rig):
    rig.relay(b"{}")
    await relayed(rig.upstream, passed())
    assert rig.passed_body == b'{"model": "mini" }'


async def test_a_passed_call_for_an_unknown_alias_is_refused(rig):
    with pytest.raises(UnknownModelError):
        await relayed(rig.upstream, passed("slow"))


async def test_a_passed_answer_that_breaks_off_raises(rig):
    rig.relay(b"one ", b"two", breaks=True)
    with pytest.raises(UpstreamError):
        await relayed(rig.upstream, passed())
