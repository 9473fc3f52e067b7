"""Streams ask for their usage, except where the caller said no or the target refuses the field."""

import json
import random

import pytest
from structlog.testing import capture_logs

from semcache.errors import UpstreamError, UpstreamRefusedError
from semcache.model import Answer, UpstreamCall
from semcache.settings import Route, Target, UpstreamSettings
from semcache.testing.clock import FakeClock
from semcache.testing.upstream_server import ScriptedServer, echo, failure, plain
from semcache.upstream import HttpUpstream

ASKED = {"include_usage": True}


def body(**fields):
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}).encode()


def refuses(status=422, message='{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}'):
    """Return a server that refuses each body with `stream_options`, as those that know no such field do."""

    def handler(request):
        return failure(status, message) if "stream_options" in request.json else echo(request)

    return handler


class Rig:
    def __init__(self, server, **target):
        self.server = server
        self.clock = FakeClock()
        targets = (Target(name="t", base_url=server.base_url, **target),)
        routes = (Route(alias="m", target="t"), Route(alias="n", target="t", model="other"))
        settings = UpstreamSettings(targets=targets, routes=routes)
        self.upstream = HttpUpstream(settings, self.clock, rng=random.Random(0), environ={})

    async def ask(self, request=None, alias="m"):
        call = UpstreamCall(
            alias=alias, body=request or body(), deadline_s=self.clock.monotonic() + 100, request_id="r"
        )
        items = [item async for item in self.upstream.stream(call)]
        assert isinstance(items[-1], Answer)
        return items[-1]

    def options(self):
        """Return what each request so far said in `stream_options`; None where it had no such field."""
        return [request.json.get("stream_options") for request in self.server.requests]


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("message", ["Extra inputs are not permitted: stream_options", "Bad request."])
async def test_a_target_that_refuses_is_asked_again_without_and_remembered(status, message):
    async with ScriptedServer(refuses(status, message)) as server:
        rig = Rig(server)
        with capture_logs() as logs:
            first = await rig.ask()
            second = await rig.ask()
            other = await rig.ask(alias="n")
        await rig.upstream.close()
    assert [answer.text for answer in (first, second, other)] == ["Answer to: hi"] * 3
    assert first.usage.estimated
    assert first.attempts == 1
    assert rig.options() == [ASKED, None, None, None]
    refused = [log for log in logs if log["event"] == "upstream.stream_usage_refused"]
    assert [(log["target"], log["http_status"], log["log_level"]) for log in refused] == [("t", status, "warning")]


async def test_a_refusal_is_forgotten_after_an_hour():
    async with ScriptedServer(refuses()) as server:
        rig = Rig(server)
        await rig.ask()
        rig.clock.advance(3599)
        await rig.ask()
        rig.clock.advance(2)
        await rig.ask()
        await rig.upstream.close()
    assert rig.options() == [ASKED, None, None, ASKED, None]


async def test_a_refusal_with_another_cause_teaches_nothing():
    replies = [failure(400, "bad tools"), failure(400, "bad tools")]
    async with ScriptedServer(replies) as server:
        rig = Rig(server)
        with pytest.raises(UpstreamRefusedError) as caught:
            await rig.ask()
        assert b"bad tools" in caught.value.body
        assert not (await rig.ask()).usage.estimated
        await rig.upstream.close()
    assert rig.options() == [ASKED, None, ASKED]


@pytest.mark.parametrize(("message", "tries"), [("bad tools", 2), ("Unknown field: stream_options", 3)])
async def test_a_target_that_has_taken_the_field_is_asked_without_it_only_when_it_names_it(message, tries):
    replies = iter([None, failure(400, message)])
    async with ScriptedServer(lambda request: next(replies, None) or echo(request)) as server:
        rig = Rig(server)
        await rig.ask()
        if tries == 2:
            with pytest.raises(UpstreamRefusedError):
                await rig.ask()
        else:
            await rig.ask()
        await rig.upstream.close()
    assert len(server.requests) == tries


@pytest.mark.parametrize("status", [401, 403, 408, 413])
async def test_other_refusals_are_no_reason_to_ask_again(status):
    async with ScriptedServer([failure(status, "stream_options")]) as server:
        rig = Rig(server)
        with pytest.raises(UpstreamRefusedError):
            await rig.ask()
        await rig.upstream.close()
    assert rig.options() == [ASKED]


@pytest.mark.parametrize("status", [404, 405, 409, 500, 501, 502, 503])
async def test_an_error_that_names_the_field_counts_whatever_its_status(status):
    async with ScriptedServer(refuses(status)) as server:
        rig = Rig(server)
        first, second = await rig.ask(), await rig.ask()
        await rig.upstream.close()
    assert first.text == second.text == "Answer to: hi"
    assert first.usage.estimated
    assert rig.options() == [ASKED, None, None]


async def test_a_limit_of_requests_is_no_refusal_though_its_body_names_the_field():
    replies = iter([failure(429, "stream_options")])
    async with ScriptedServer(lambda request: next(replies, None) or echo(request)) as server:
        rig = Rig(server)
        await rig.ask()
        await rig.upstream.close()
    assert rig.options() == [ASKED, ASKED]


@pytest.mark.parametrize("status", [404, 501])
async def test_an_error_that_doesnt_name_the_field_is_no_reason_to_ask_without_it(status):
    async with ScriptedServer([failure(status, "not found")] * 2) as server:
        rig = Rig(server)
        with pytest.raises(UpstreamError):
            await rig.ask()
        await rig.upstream.close()
    assert set(map(str, rig.options())) == {str(ASKED)}


ERROR = {"error": {"message": "Unknown field: stream_options", "code": 400}}


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "named"])
async def test_an_error_in_place_of_a_stream_is_a_refusal_when_it_names_the_field(kind):
    data = json.dumps(ERROR).encode()

    def handler(request):
        if "stream_options" not in request.json:
            return echo(request)
        if kind == "application/json":
            return plain(data)
        event = b"event: error\n" if kind == "named" else b""
        return plain(event + b"data: " + data + b"\n\n", content_type="text/event-stream")

    async with ScriptedServer(handler) as server:
        rig = Rig(server)
        first, second = await rig.ask(), await rig.ask()
        await rig.upstream.close()
    assert first.text == second.text == "Answer to: hi"
    assert rig.options() == [ASKED, None, None]


@pytest.mark.parametrize("options", [{"include_usage": False}, {"include_usage": False, "other": 1}])
async def test_a_caller_who_says_no_is_obeyed(options):
    async with ScriptedServer() as server:
        rig = Rig(server)
        answer = await rig.ask(body(stream=True, stream_options=options))
        await rig.upstream.close()
    assert rig.options() == [options]
    assert answer.usage.estimated


async def test_what_the_caller_asked_for_itself_stays_and_its_refusal_is_passed_on():
    async with ScriptedServer(refuses()) as server:
        rig = Rig(server)
        with pytest.raises(UpstreamRefusedError):
            await rig.ask(body(stream=True, stream_options=ASKED))
        await rig.ask()
        with pytest.raises(UpstreamRefusedError):
            await rig.ask(body(stream=True, stream_options=ASKED))
        await rig.upstream.close()
    assert rig.options() == [ASKED, ASKED, None, ASKED]


async def test_only_what_semcache_added_is_left_out():
    def handler(request):
        asked = (request.json.get("stream_options") or {}).get("include_usage")
        return failure(422, "include_usage: extra field") if asked else echo(request)

    async with ScriptedServer(handler) as server:
        rig = Rig(server)
        await rig.ask(body(stream_options={"other": 1}))
        await rig.upstream.close()
    assert rig.options() == [{"other": 1, "include_usage": True}, {"other": 1}]


async def test_a_target_may_be_set_never_to_be_asked():
    async with ScriptedServer(refuses()) as server:
        rig = Rig(server, stream_usage=False)
        await rig.ask()
        await rig.upstream.close()
    assert rig.options() == [None]
