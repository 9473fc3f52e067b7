"""What every call goes through: messages that come again are read once, and who fails or leaves is counted out."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from semcache.errors import InvalidRequestError
from semcache.long_work import LongWork
from semcache.model import Request
from semcache.request import RequestMemo
from semcache.server.admission import Admission
from semcache.server.auth import SOLE_CALLER, Authenticator, Caller, Credentials
from semcache.server.call_counts import CallCounts
from semcache.server.gate import Gate
from semcache.server.grpc.calls import READ_S, Calls
from semcache.server.shedding import Shedding
from semcache.settings import load_settings
from semcache.testing.clock import FakeClock
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.incoming import CompleteCall

LONG = 5_000


class Context:
    """A call's context; what it is aborted with is raised."""

    def __init__(self, remaining_s: float | None = 9.0, raw: object = b"") -> None:
        self._remaining_s = remaining_s
        self.raw = raw
        self.unread: asyncio.Event | None = None

    async def read(self):
        if self.unread is not None:
            await self.unread.wait()
        return self.raw

    def peer(self) -> str:
        return "ipv4:192.0.2.7:50000"

    def invocation_metadata(self):
        return ()

    def time_remaining(self) -> float | None:
        return self._remaining_s

    async def abort(self, code, details, metadata):
        raise ConnectionAbortedError(code.name)


class Tenants(Authenticator):
    """Every call is from `tenant`."""

    tenant_now = "acme"

    def caller(self, credentials: Credentials) -> Caller:
        return replace(SOLE_CALLER, tenant=self.tenant_now)


class Rig:
    """A repeating method that counts what it reads and answers with the text that it was asked."""

    def __init__(self) -> None:
        settings = load_settings(None, {"server": {"reader_timeout_s": 0.02}})
        self.gate = Gate(settings.server, settings.limits)
        self.tenants = Tenants(settings.auth)
        self.failures: list[str] = []
        limit = settings.server.max_message_bytes
        admission = Admission(self.tenants, self.gate, limit, on_failure=self.failures.append)
        self.counts, self.clock, self.resets = CallCounts(), FakeClock(), []
        self.embedder_wait_s, self.held = 0.0, set()
        self.shedding = Shedding(lambda: self.embedder_wait_s, lambda: 0.5)
        self.calls = calls = Calls(
            admission,
            RequestMemo(),
            self.counts,
            self.shedding,
            monotonic=self.clock.monotonic,
            on_reset=self.resets.append,
            long_work=LongWork(),
            settings=settings,
        )
        self.reads: list[tuple[str, str]] = []
        self.wait = asyncio.Event()
        self.wait.set()
        self.method = calls.repeating(pb.CompleteRequest, self._read, self._handle, self._holds).stream_unary

    async def _holds(self, call: CompleteCall) -> bool:
        return call.request.body in self.held

    def _read(self, message: pb.CompleteRequest, tenant: str) -> CompleteCall:
        self.reads.append((message.prompt.text.text, tenant))
        if message.prompt.text.text == "bad":
            raise InvalidRequestError("bad")
        return CompleteCall(Request(tenant=tenant, body=message.prompt.text.text.encode()))

    async def _handle(self, call: CompleteCall, caller: Caller) -> bytes:
        await self.wait.wait()
        if call.request.body == b"fails":
            raise RuntimeError("a defect")
        return call.request.body

    async def ask(self, text: str, context: Context | None = None) -> bytes:
        raw = pb.CompleteRequest(prompt=pb.Prompt(text=pb.TextPrompt(text=text))).SerializeToString()
        context = context or Context()
        context.raw = raw
        return await self.method(None, context)

    def ended(self) -> dict[str, int]:
        calls = self.counts.of("Complete")
        assert calls.started == calls.running + sum(calls.ended.values())
        assert calls.running == self.gate.in_flight
        return dict(calls.ended)


@pytest.fixture
async def rig():
    return Rig()


async def test_a_short_message_is_read_once(rig):
    assert [await rig.ask("a"), await rig.ask("b"), await rig.ask("a")] == [b"a", b"b", b"a"]
    assert rig.reads == [("a", "acme"), ("b", "acme")]


async def test_another_tenants_message_is_read_anew(rig):
    await rig.ask("a")
    rig.tenants.tenant_now = "other"
    await rig.ask("a")
    assert rig.reads == [("a", "acme"), ("a", "other")]


async def test_a_long_message_is_read_each_time(rig):
    for _ in range(2):
        assert await rig.ask("a" * LONG) == b"a" * LONG
    assert len(rig.reads) == 2


async def test_what_can_not_be_read_fails_each_time(rig):
    for _ in range(2):
        with pytest.raises(ConnectionAbortedError, match="INVALID_ARGUMENT"):
            await rig.ask("bad")
    assert len(rig.reads) == 2
    with pytest.raises(ConnectionAbortedError, match="INVALID_ARGUMENT"):
        await rig.method(None, Context(raw=b"\xff\xff"))
    assert rig.gate.in_flight == 0


async def test_a_deadline_that_has_passed_is_seen_on_a_remembered_message(rig):
    await rig.ask("a")
    with pytest.raises(ConnectionAbortedError, match="DEADLINE_EXCEEDED"):
        await rig.ask("a", Context(remaining_s=0.0))
    assert rig.gate.in_flight == 0


async def test_who_fails_or_leaves_is_counted_out(rig):
    with pytest.raises(ConnectionAbortedError, match="INTERNAL"):
        await rig.ask("fails")
    assert (rig.gate.in_flight, rig.failures) == (0, ["INTERNAL"])
    rig.wait.clear()
    leaving = asyncio.create_task(rig.ask("a"))
    await asyncio.sleep(0)
    assert rig.gate.in_flight == 1
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert rig.gate.in_flight == 0


async def test_two_readers_of_the_same_bytes_are_never_mixed_up(rig):
    other = rig.calls.remembering(pb.CompleteRequest, lambda message, tenant: CompleteCall(Request(tenant, b"other")))
    raw = pb.CompleteRequest(prompt=pb.Prompt(text=pb.TextPrompt(text="a"))).SerializeToString()
    assert await rig.method(None, Context(raw=raw)) == b"a"
    assert other(raw, "acme").request.body == b"other"
    assert await rig.method(None, Context(raw=raw)) == b"a"


async def test_every_call_ends_in_a_count(rig):
    await rig.ask("a")
    for bad, context in (("bad", Context()), ("fails", Context()), ("a", Context(remaining_s=0.0))):
        with pytest.raises(ConnectionAbortedError):
            await rig.ask(bad, context)
    assert rig.ended() == {"OK": 1, "INVALID_ARGUMENT": 1, "INTERNAL": 1, "DEADLINE_EXCEEDED": 1}


@pytest.mark.parametrize(("remaining_s", "code"), [(None, "CANCELLED"), (5.0, "CANCELLED"), (0.0, "DEADLINE_EXCEEDED")])
async def test_a_caller_that_leaves_is_counted_by_why(rig, remaining_s, code):
    context = Context()
    rig.wait.clear()
    leaving = asyncio.create_task(rig.ask("a", context))
    await asyncio.sleep(0)
    context._remaining_s = remaining_s
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (rig.ended(), rig.resets) == ({code: 1}, [])


@pytest.mark.parametrize(("remaining_s", "resets"), [(None, 1), (5.0, 1), (0.0, 0)])
async def test_a_call_that_is_left_before_it_was_read_is_a_reset_unless_its_time_was_over(rig, remaining_s, resets):
    context = Context()
    context.unread = asyncio.Event()
    leaving = asyncio.create_task(rig.ask("a", context))
    await asyncio.sleep(0)
    assert rig.gate.in_flight == 1  # It is counted when it is handed over, not once it has been read.
    context._remaining_s = remaining_s
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert rig.resets == [context.peer()] * resets
    assert sum(rig.ended().values()) == 1


async def test_a_call_without_a_message_is_refused(rig):
    with pytest.raises(ConnectionAbortedError, match="INVALID_ARGUMENT"):
        await rig.method(None, Context(raw=object()))
    assert rig.failures == ["NO_MESSAGE"]


async def test_a_call_whose_message_does_not_come_gives_its_place_back(rig):
    contexts = [Context(), Context()]
    calls = []
    for context in contexts:
        context.unread = asyncio.Event()
        calls.append(asyncio.create_task(rig.ask("a", context)))
        await asyncio.sleep(0)
        rig.clock.advance(READ_S / 2)
    rig.calls.end_late_readers()
    rig.calls.end_late_readers()
    await asyncio.sleep(0)
    assert rig.gate.in_flight == 1
    with pytest.raises(ConnectionAbortedError, match="INVALID_ARGUMENT"):
        await calls[0]
    contexts[1].unread.set()
    assert await calls[1] == b"a"
    assert (rig.failures, rig.resets) == (["NO_MESSAGE"], [])


def overload(rig):
    while rig.shedding.share < 0.5:
        rig.shedding.report(1.0, 0.1, 1000.0)


async def test_under_overload_exact_hits_alone_are_answered(rig):
    overload(rig)
    rig.held.add(b"a")
    assert await rig.ask("a") == b"a"
    with pytest.raises(ConnectionAbortedError, match="UNAVAILABLE"):
        await rig.ask("b")
    assert rig.failures == ["OVERLOADED"]
    assert rig.ended() == {"OK": 1, "UNAVAILABLE": 1}


@pytest.mark.parametrize(
    ("kind", "is_refused"), [(pb.StoreRequest, True), (pb.InvalidateRequest, False), (pb.GetStatsRequest, False)]
)
async def test_a_call_that_is_no_hit_is_refused_unread_and_operators_are_served(rig, kind, is_refused):
    overload(rig)
    context = Context()

    async def handle(message, caller):
        return message

    method = rig.calls.unary(kind, handle).stream_unary
    if is_refused:
        context.unread = asyncio.Event()  # Reading would wait for ever.
        with pytest.raises(ConnectionAbortedError, match="UNAVAILABLE"):
            await method(None, context)
    else:
        assert await method(None, context) == b""


async def test_a_call_is_refused_whose_deadline_passes_before_the_embedder_is_free(rig):
    rig.embedder_wait_s = 2.0
    rig.shedding.report(0.0, 0.05, 10.0)
    with pytest.raises(ConnectionAbortedError, match="UNAVAILABLE"):
        await rig.ask("a", Context(remaining_s=1.0))
    assert await rig.ask("a", Context(remaining_s=3.0)) == b"a"
    assert await rig.ask("a", Context(remaining_s=None)) == b"a"
    rig.held.add(b"a")
    assert await rig.ask("a", Context(remaining_s=1.0)) == b"a"


class StalledContext(Context):
    """A call whose caller takes the first response of a stream and no more."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[bytes] = []

    async def write(self, raw: bytes) -> None:
        if self.taken:
            await asyncio.Event().wait()
        self.taken.append(raw)


async def test_a_reader_that_takes_nothing_is_dropped_and_its_answer_is_let_go(rig):
    ended = False

    async def stream(message: pb.ListEntriesRequest, caller: Caller) -> AsyncIterator[pb.ListEntriesResponse]:
        nonlocal ended
        try:
            while True:
                yield pb.ListEntriesResponse()
        finally:
            ended = True

    context = StalledContext()
    method = rig.calls.streaming(pb.ListEntriesRequest, stream).stream_stream
    with pytest.raises(ConnectionAbortedError, match="RESOURCE_EXHAUSTED"):
        await method(None, context)
    assert ended
    assert rig.failures == ["READER_STALLED"]
    assert rig.gate.in_flight == 0
    assert context.taken == [b""]
