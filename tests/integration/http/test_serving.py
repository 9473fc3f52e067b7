"""The HTTP listener beside gRPC: its credentials, roles, certificates, health, start and end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from pathlib import Path
from typing import Any

import httpx2
import pytest

from semcache.errors import SettingsError, StartError
from semcache.server.gate import Gate
from semcache.settings import load_settings
from semcache.testing.clock import FakeClock
from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream
from tests.integration.http.calling import CHAT, asking, client_of, error_of, request_bytes, wire_to
from tests.integration.test_auth import AUTH, KEYS, Authority, Files, authority, files

__all__ = ["authority", "files"]

READER = {"tenant": "acme", "sha256": hashlib.sha256(b"reader-key").hexdigest(), "roles": ["read"]}
GATEWAY = {"tenant": "edge", "sha256": hashlib.sha256(b"gateway-key").hexdigest(), "gateway": True}
SETTINGS: dict[str, Any] = {"auth": {**AUTH, "keys": [*AUTH["keys"], READER, GATEWAY]}}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEYS['acme']}"},
        {"authorization": f"bearer {KEYS['acme']}"},
        {"x-api-key": KEYS["acme"]},
        {"api-key": KEYS["acme"]},
        {"x-api-key": KEYS["acme"], "authorization": "Bearer of-somebody-else"},
        {"x-api-key": "gateway-key", "x-semcache-tenant": "acme"},
    ],
    ids=str,
)
async def test_each_way_to_show_a_key_leads_to_its_tenant(headers: dict[str, str]) -> None:
    async with serving(SETTINGS) as served, client_of(served) as client:
        await client.post(CHAT, json=asking("a"), headers={"x-api-key": KEYS["acme"]})
        await client.post(CHAT, json=asking("a"), headers={"x-api-key": KEYS["bob"]})
        hit = await client.post(CHAT, json=asking("a"), headers=headers)
        assert (hit.headers["x-cache-status"], len(served.upstream.calls)) == ("HIT", 2)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ([], 401, "UNAUTHENTICATED"),
        ([("authorization", "Bearer nobody")], 401, "UNAUTHENTICATED"),
        ([("authorization", f"Basic {KEYS['acme']}")], 401, "UNAUTHENTICATED"),
        ([("x-api-key", KEYS["acme"]), ("x-api-key", KEYS["bob"])], 401, "DUPLICATE_CREDENTIALS"),
        ([("x-api-key", KEYS["acme"]), ("x-semcache-tenant", "bob")], 403, "TENANT_HEADER_NOT_TRUSTED"),
        ([("x-api-key", "reader-key")], 403, "ROLE_MISSING"),
    ],
    ids=str,
)
async def test_who_may_not_is_refused(headers: list[tuple[str, str]], status: int, code: str) -> None:
    async with serving(SETTINGS) as served, client_of(served) as client:
        answer = await client.post(CHAT, json=asking("a"), headers=headers)
        assert (answer.status_code, error_of(answer)["code"]) == (status, code)
        assert error_of(answer)["type"] == ("authentication_error" if status == 401 else "permission_error")
        assert served.upstream.calls == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/models", True),
        ("GET", "/semcache/v1/stats", True),
        ("POST", "/semcache/v1/explain", True),
        ("POST", "/semcache/v1/verdicts", False),
        ("POST", "/semcache/v1/invalidate", False),
    ],
)
async def test_each_path_needs_the_role_of_its_call(method: str, path: str, allowed: bool) -> None:
    async with serving(SETTINGS) as served, client_of(served) as client:
        fields: dict[str, Any] = {"json": {}} if method == "POST" else {}
        answer = await client.request(method, path, headers={"x-api-key": "reader-key"}, **fields)
        assert (answer.status_code != 403) == allowed


async def closed(gate: Gate) -> None:
    for _ in range(10_000):
        if gate.closed:
            return
        await asyncio.sleep(0)


async def test_health_needs_no_credentials_and_ready_says_when_the_server_drains() -> None:
    gate = asyncio.Event()
    upstream = ScriptedUpstream(lambda _: Scripted(gate=gate))
    async with serving({"auth": AUTH}, upstream=upstream) as served, client_of(served) as client:
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.head("/readyz")).status_code == 200
        key = {"x-api-key": KEYS["acme"]}
        call = asyncio.ensure_future(client.post(CHAT, json=asking("a"), headers=key))
        await upstream.called()
        stopping = asyncio.ensure_future(served.application.stop())
        await asyncio.wait_for(closed(served.application.composition.gate), 5)
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        refused = await client.post(CHAT, json=asking("b"), headers=key)
        assert (refused.status_code, error_of(refused)["code"]) == (503, "SHUTTING_DOWN")
        gate.set()
        assert (await call).status_code == 200
        await stopping
        with pytest.raises(httpx2.ConnectError):
            await client.get("/healthz")


async def test_a_call_that_outlives_the_grace_is_ended() -> None:
    upstream = ScriptedUpstream(lambda _: Scripted(gate=asyncio.Event()))
    async with serving(upstream=upstream) as served, wire_to(served) as wire:
        await wire.send(request_bytes(json.dumps(asking("a")).encode()))
        await upstream.called()
        await served.application.stop(0.0)
        assert await wire.ended()


async def test_an_idle_connection_is_closed_at_the_end() -> None:
    async with serving() as served, wire_to(served) as wire:
        await wire.send(request_bytes(json.dumps(asking("a")).encode()))
        assert (await wire.answer())[0] == 200
        await served.application.stop()
        assert await wire.ended()


async def test_a_connection_of_great_age_is_renewed() -> None:
    settings = {"server": {"port": 0, "max_connections_age_s": 0.001, "http": {"port": 0}}}
    async with serving(settings) as served, wire_to(served) as wire:
        await asyncio.sleep(0.002)
        await wire.send(request_bytes(json.dumps(asking("a")).encode()))
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await wire.ended()


async def test_http_can_be_off() -> None:
    async with serving({"server": {"port": 0, "http": {"enabled": False}}}) as served:
        assert served.application.http_address is None


async def test_a_port_in_use_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    async with serving() as first:
        port = int(str(first.application.http_address).rpartition(":")[2])
        before = asyncio.all_tasks()
        with pytest.raises(StartError) as error:
            async with serving({"server": {"port": 0, "http": {"port": port}}}, path=tmp_path):
                pass
        assert error.value.reason == "PORT_IN_USE"
        assert "server.http.port" in error.value.hint
        assert asyncio.all_tasks() == before


def test_without_authentication_only_loopback_is_served() -> None:
    with pytest.raises(SettingsError, match=r"server\.http\.host"):
        load_settings(None, {"server": {"http": {"host": "0.0.0.0"}}})
    load_settings(None, {"server": {"http": {"host": "0.0.0.0", "enabled": False}}})


async def ask_by_tls(
    served: Served, root: bytes, client: tuple[bytes, bytes] | None, folder: Path, **headers: str
) -> httpx2.Response:
    """One call over a connection of its own, that trusts `root` and shows `client`'s key and certificate."""
    context = ssl.create_default_context(cadata=root.decode())
    context.check_hostname = False
    if client is not None:
        (folder / "own.pem").write_bytes(b"".join(client))
        context.load_cert_chain(folder / "own.pem")
    url = f"https://{served.application.http_address}"
    async with httpx2.AsyncClient(base_url=url, verify=context, trust_env=False) as opened:
        return await opened.post(CHAT, json=asking("a"), headers=headers)


async def test_certificates_serve_and_name_tenants_as_over_grpc(
    authority: Authority, files: Files, tmp_path: Path
) -> None:
    tls = files.write(authority.issue("server"))
    (files.folder / "ca.pem").write_bytes(authority.pem)
    auth = {**AUTH, "certificates": [{"common_name": "acme's frontend", "tenant": "acme"}]}
    server = {"port": 0, "http": {"port": 0}, "tls": {**tls, "client_ca_file": files.folder / "ca.pem"}}
    async with serving({"server": server, "auth": auth}) as served:
        known, unknown = authority.issue("acme's frontend"), authority.issue("nobody's frontend")
        hostile = authority.issue("acme's frontend\0.evil")
        assert (await ask_by_tls(served, authority.pem, known, tmp_path)).status_code == 200
        assert (await ask_by_tls(served, authority.pem, unknown, tmp_path)).status_code == 401
        refused = await ask_by_tls(served, authority.pem, hostile, tmp_path)
        assert error_of(refused)["code"] == "INVALID_CERTIFICATE_NAME"
        with_key = await ask_by_tls(served, authority.pem, unknown, tmp_path, **{"x-api-key": KEYS["acme"]})
        assert with_key.headers["x-cache-status"] == "HIT"
        stranger = Authority.make("somebody else").issue("acme's frontend")
        for shown in (None, stranger):
            with pytest.raises(httpx2.TransportError):
                await ask_by_tls(served, authority.pem, shown, tmp_path)


async def test_certificates_are_read_again_when_their_files_change(
    authority: Authority, files: Files, tmp_path: Path
) -> None:
    newer = Authority.make("the newer authority")
    clock = FakeClock()
    tls = {**files.write(authority.issue("server"), at_s=1), "reload_interval_s": 10.0}
    key = {"x-api-key": KEYS["acme"]}
    settings = {"server": {"port": 0, "http": {"port": 0}, "tls": tls}, "auth": AUTH}
    async with serving(settings, clock=clock) as served:
        assert (await ask_by_tls(served, authority.pem, None, tmp_path, **key)).status_code == 200
        files.write(newer.issue("server"), at_s=2)
        clock.advance(11.0)
        assert (await ask_by_tls(served, newer.pem, None, tmp_path, **key)).status_code == 200
        with pytest.raises(httpx2.ConnectError):
            await ask_by_tls(served, authority.pem, None, tmp_path, **key)
        files.write((b"no key", b"no certificate"), at_s=3)
        clock.advance(11.0)
        assert (await ask_by_tls(served, newer.pem, None, tmp_path, **key)).status_code == 200
