"""The contract of every Upstream for Anthropic's messages, over the scripted one and over the one for HTTP."""

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from semcache.errors import UpstreamError, UpstreamRefusedError
from semcache.model import Answer, ApiProtocol, UpstreamCall, Usage
from semcache.protocols.messages.replaying import replay_events
from semcache.settings import RetrySettings, Route, Target, UpstreamSettings
from semcache.testing.clock import FakeClock
from semcache.testing.messages import message_body
from semcache.testing.upstream import Scripted, ScriptedUpstream
from semcache.testing.upstream_server import Ending, ScriptedServer, named_events, plain
from semcache.upstream import HttpUpstream

TEXT = "Paris, as far as anyone knows, and for a long time by now."
USAGE = Usage(40, 16, 12, cache_write_tokens=8)
CALLS = ({"type": "tool_use", "id": "toolu_0", "name": "f", "input": {"a": 1}},)
HEADERS = (("anthropic-version", "2023-06-01"), ("anthropic-beta", "a,b"))
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


class InProcess:
    """The scripted upstream, with its script."""

    def __init__(self):
        self.script = Scripted(TEXT, usage=USAGE)
        self.upstream = ScriptedUpstream(lambda _: self.script, models={"fast": "mini"})

    def answer(self, **fields):
        self.script = Scripted(**{"text": TEXT, "usage": USAGE, **fields})

    def refuse(self):
        self.script = Scripted(error=UpstreamRefusedError("no", http_status=400, body=b"no"))

    def break_off(self, gate):
        self.script = Scripted(TEXT, usage=USAGE, piece_gates=(None, None, gate), break_after=3)

    @property
    def bodies(self):
        return self.upstream.bodies


class OverHttp:
    """The upstream over HTTP, in front of a scripted server."""

    def __init__(self, server, key_file, **retry):
        self.server = server
        self.handler = None
        self.answer()
        settings = UpstreamSettings(
            targets=(Target(name="t", base_url=server.base_url, api_key_file=key_file),),
            routes=(Route(alias="fast", target="t", model="mini"),),
            retry=RetrySettings(**{"max_retries": 0, **retry}),
        )
        self.slept_s = []
        self.upstream = HttpUpstream(settings, FakeClock(), environ={}, sleep=self._sleep)

    async def _sleep(self, seconds):
        self.slept_s.append(seconds)

    def answer(self, text=TEXT, usage=USAGE, finish_reason="end_turn", **fields):
        body = message_body(text, model="mini", usage=usage, stop_reason=finish_reason, **fields)
        self.handler = lambda request: named_events(replay_events(body)) if request.streams else plain(body)

    def refuse(self):
        self.handler = lambda _: plain(b"no", status=400)

    def break_off(self, gate):
        events = list(replay_events(message_body(TEXT, model="mini", usage=USAGE)))[:3]
        self.handler = lambda _: named_events(events, ending=Ending.CUT, piece_gate=gate)
        gate.set()

    @property
    def bodies(self):
        return [request.json for request in self.server.requests]


@asynccontextmanager
async def over_http(**retry):
    # The rig needs the server's address, which is known only once the server runs.
    rigs = []

    def handle(request):
        return rigs[0].handler(request)

    with TemporaryDirectory() as folder:
        key_file = Path(folder) / "key"
        key_file.write_text("sk-1")
        async with ScriptedServer(handle) as server:
            rig = OverHttp(server, key_file, **retry)
            rigs.append(rig)
            yield rig
            await rig.upstream.close()


@pytest.fixture(params=["scripted", "http"])
async def rig(request):
    if request.param == "scripted":
        yield InProcess()
    else:
        async with over_http() as made:
            yield made


def call(**fields):
    body = {"model": "fast", "max_tokens": 9, "messages": [{"role": "user", "content": "What is the capital?"}]}
    return UpstreamCall(
        alias="fast",
        body=json.dumps({**body, **fields}).encode(),
        deadline_s=100.0,
        request_id="r1",
        protocol=ApiProtocol.MESSAGES,
        headers=HEADERS,
    )


async def streamed(upstream, asked=None):
    return [item async for item in upstream.stream(asked or call())]


async def test_a_plain_answer(rig):
    answer = await rig.upstream.complete(call())
    assert (answer.text, answer.finish_reason, answer.usage) == (TEXT, "end_turn", USAGE)
    assert (answer.model, answer.target_model, answer.tool_calls) == ("mini", "mini", False)
    assert json.loads(answer.body)["content"] == [{"type": "text", "text": TEXT}]


async def test_a_streamed_answer_is_the_same_answer(rig):
    plain_answer = await rig.upstream.complete(call())
    *events, answer = await streamed(rig.upstream)
    assert isinstance(answer, Answer)
    for field in ("text", "finish_reason", "usage", "model", "target_model", "route", "tool_calls", "flaw"):
        assert getattr(answer, field) == getattr(plain_answer, field)
    assert json.loads(answer.body) == json.loads(plain_answer.body)
    kinds = [json.loads(event)["type"] for event in events]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


async def test_an_answer_without_usage_says_so(rig):
    rig.answer(usage=None)
    assert (await rig.upstream.complete(call())).usage == Usage(estimated=True)
    assert (await streamed(rig.upstream))[-1].usage.estimated


async def test_tool_calls_are_flagged(rig):
    rig.answer(tool_calls=CALLS, finish_reason="tool_use")
    for answer in (await rig.upstream.complete(call()), (await streamed(rig.upstream))[-1]):
        assert answer.tool_calls
        assert answer.finish_reason == "tool_use"
        assert json.loads(answer.body)["content"] == list(CALLS)


async def test_a_refusal(rig):
    rig.refuse()
    with pytest.raises(UpstreamRefusedError) as caught:
        await rig.upstream.complete(call())
    assert (caught.value.http_status, caught.value.body) == (400, b"no")
    with pytest.raises(UpstreamRefusedError):
        await streamed(rig.upstream)


async def test_half_a_stream_ends_in_an_error_and_is_lost(rig):
    gate = asyncio.Event()
    rig.break_off(gate)
    received, asked = [], call()
    with pytest.raises(UpstreamError) as caught:  # noqa: PT012 - the loop is what raises
        async for item in rig.upstream.stream(asked):
            received.append(item)
            gate.set()
    assert caught.value.reason == "UPSTREAM_BROKE_OFF"
    assert [json.loads(item)["type"] for item in received] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
    ]
    (lost,) = asked.lost
    assert (lost.usage.input_tokens, lost.usage.cached_input_tokens, lost.usage.output_tokens) == (40, 16, 0)
    assert TEXT.startswith(lost.text)
    assert lost.text


async def test_a_call_is_sent_as_the_api_wants_it():
    async with over_http() as rig:
        await rig.upstream.complete(call(stream=True))
        await streamed(rig.upstream, call())
    plain_request, stream_request = rig.server.requests
    for request in (plain_request, stream_request):
        assert request.path == "/v1/messages"
        assert request.headers["x-api-key"] == "sk-1"
        assert "authorization" not in request.headers
        assert request.headers["anthropic-version"] == "2023-06-01"
        assert request.headers["anthropic-beta"] == "a,b"
    asked = call(stream=True).body
    assert plain_request.body == asked.replace(b'"fast"', b'"mini"').replace(b"true", b"false")
    assert stream_request.body == call().body.replace(b'"fast"', b'"mini"').replace(b"]}", b'],"stream":true}')


async def test_a_streams_events_are_passed_on_byte_for_byte():
    odd = [b'{ "type":"ping"}', *replay_events(message_body(TEXT))]
    odd[2] = odd[2].replace(b'":', b'" : ')
    async with over_http() as rig:
        rig.handler = lambda _: named_events(odd)
        *events, answer = await streamed(rig.upstream)
    assert events == odd
    assert answer.text == TEXT


async def test_a_target_that_doesnt_stream_is_replayed():
    async with over_http() as rig:
        rig.handler = lambda _: plain(message_body(TEXT, model="mini"))
        *events, answer = await streamed(rig.upstream)
    assert json.loads(events[-1])["type"] == "message_stop"
    assert answer.body == message_body(TEXT, model="mini")


@pytest.mark.parametrize("kept", [1, 3, -2, -1])
async def test_a_stream_that_ends_before_its_last_event_isnt_whole(kept):
    async with over_http() as rig:
        rig.handler = lambda _: named_events(list(replay_events(message_body(TEXT)))[:kept])
        asked = call()
        with pytest.raises(UpstreamError) as caught:
            await streamed(rig.upstream, asked)
    assert caught.value.reason == "UPSTREAM_INCOMPLETE"
    assert len(asked.lost) == 1


async def test_a_connection_whose_message_has_ended_is_used_again():
    async with over_http() as rig:
        for _ in range(3):
            await streamed(rig.upstream)
    assert {request.connection for request in rig.server.requests} == {1}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("status", [200, 529])
async def test_an_overload_is_tried_again_whatever_its_status(status, streams):
    async with over_http(max_retries=2) as rig:
        answer = rig.handler
        failures = [2]

        def handler(request):
            if failures[0]:
                failures[0] -= 1
                whole = json.dumps(OVERLOADED).encode()
                return named_events([whole]) if status == 200 and streams else plain(whole, status=status)
            return answer(request)

        rig.handler = handler
        if streams:
            told = (await streamed(rig.upstream))[-1]
        else:
            told = await rig.upstream.complete(call())
    assert (told.text, told.attempts) == (TEXT, 3)
    assert len(rig.slept_s) == 2


async def test_an_overload_in_the_middle_of_a_stream_ends_it_with_its_own_status():
    events = [*list(replay_events(message_body(TEXT, usage=USAGE)))[:3], json.dumps(OVERLOADED).encode()]
    async with over_http(max_retries=2) as rig:
        rig.handler = lambda _: named_events(events)
        asked = call()
        with pytest.raises(UpstreamError, match="Overloaded") as caught:
            await streamed(rig.upstream, asked)
    assert caught.value.http_status == 529
    assert json.loads(caught.value.body) == OVERLOADED
    assert len(rig.server.requests) == 1
    assert asked.lost[0].usage.input_tokens == 40
