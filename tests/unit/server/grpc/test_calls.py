"""What every call goes through: messages that come again are read once, and who fails or leaves is counted out."""

import asyncio
from dataclasses import replace

import pytest

from semcache.errors import InvalidRequestError
from semcache.model import Request
from semcache.request import RequestMemo
from semcache.server.admission import Admission
from semcache.server.auth import SOLE_CALLER, Authenticator, Caller, Credentials
from semcache.server.gate import Gate
from semcache.server.grpc.calls import Calls
from semcache.settings import load_settings
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.incoming import CompleteCall

LONG = 5_000


class Context:
    """A call's context; what it is aborted with is raised."""

    def __init__(self, remaining_s: float = 9.0) -> None:
        self._remaining_s = remaining_s

    def invocation_metadata(self):
        return ()

    def time_remaining(self) -> float:
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
        settings = load_settings()
        self.gate = Gate(settings.server, settings.limits)
        self.tenants = Tenants(settings.auth)
        self.failures: list[str] = []
        limit = settings.server.max_message_bytes
        admission = Admission(self.tenants, self.gate, limit, on_failure=self.failures.append)
        self.calls = calls = Calls(admission, RequestMemo())
        self.reads: list[tuple[str, str]] = []
        self.wait = asyncio.Event()
        self.wait.set()
        self.method = calls.repeating(pb.CompleteRequest, self._read, self._handle).unary_unary

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
        return await self.method(raw, context or Context())


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
        await rig.method(b"\xff\xff", Context())
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
    assert await rig.method(raw, Context()) == b"a"
    assert other(raw, "acme").request.body == b"other"
    assert await rig.method(raw, Context()) == b"a"
