"""Who is asking: keys, certificates, tenant headers; and that no tenant ever sees anything of another's."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from semcache.errors import SettingsError
from semcache.settings import load_settings
from semcache.testing.clock import FakeClock
from semcache.testing.serving import Served, serving
from semcache.v1 import semcache_pb2 as pb
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub
from tests.integration.calls import prompt, reason_of

KEYS = {"acme": "acme-key-0123456789", "bob": "bob-key-0123456789"}
AUTH: dict[str, Any] = {
    "enabled": True,
    "keys": [{"tenant": t, "sha256": hashlib.sha256(key.encode()).hexdigest()} for t, key in KEYS.items()],
}
GATEWAY = (("x-api-key", "gateway-key"),)


def with_gateway(**settings: Any) -> dict[str, Any]:
    """Settings with the keys of `AUTH` and one of a gateway, whose own tenant is `edge`."""
    gateway = {"tenant": "edge", "sha256": hashlib.sha256(b"gateway-key").hexdigest(), "gateway": True}
    return {**AUTH, "keys": [*AUTH["keys"], gateway], **settings}


Metadata = Sequence[tuple[str, str | bytes]]


def bearer(tenant: str) -> Metadata:
    return (("authorization", f"Bearer {KEYS[tenant]}"),)


async def complete(stub: SemanticCacheServiceStub, text: str, metadata: Metadata = ()) -> pb.CompleteResponse:
    return await stub.Complete(pb.CompleteRequest(prompt=prompt(text), tags=["red"]), metadata=metadata)


async def refused(call: Any, code: grpc.StatusCode, reason: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    assert (error.value.code(), reason_of(error.value)) == (code, reason)


# -- keys


@pytest.mark.parametrize(
    "metadata",
    [
        (("authorization", f"Bearer {KEYS['acme']}"),),
        (("authorization", f"bearer  {KEYS['acme']} "),),
        (("x-api-key", KEYS["acme"]),),
        (("x-api-key", KEYS["acme"]), ("x-semcache-tenant", "acme")),
    ],
)
async def test_a_known_key_names_its_tenant(metadata: Metadata) -> None:
    async with serving({"auth": AUTH}) as served:
        await complete(served.stub, "one", metadata)
        listed = [e async for e in served.stub.ListEntries(pb.ListEntriesRequest(), metadata=bearer("acme"))]
        assert len(listed) == 1


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer nobody's"),),
        (("authorization", "Bearer "),),
        (("authorization", "Bearer"),),
        (("authorization", KEYS["acme"]),),
        (("authorization", f"Basic {KEYS['acme']}"),),
        (("x-api-key", "nobody's"), ("authorization", f"Bearer {KEYS['acme']}")),
        (("x-api-key", KEYS["acme"][:-1]),),
        (("x-api-key", AUTH["keys"][0]["sha256"]),),
        (("x-semcache-tenant", "acme"),),
        (("x-api-key-bin", KEYS["acme"].encode()),),
    ],
)
async def test_without_a_known_key_nobody_is_let_in(metadata: Metadata) -> None:
    async with serving({"auth": with_gateway()}) as served:
        stub = served.stub
        code = grpc.StatusCode.UNAUTHENTICATED
        await refused(complete(stub, "one", metadata), code, "UNAUTHENTICATED")
        await refused(stub.GetStats(pb.GetStatsRequest(), metadata=metadata), code, "UNAUTHENTICATED")
        await refused(stub.ListEntries(pb.ListEntriesRequest(), metadata=metadata).read(), code, "UNAUTHENTICATED")
        await refused(
            stub.Invalidate(pb.InvalidateRequest(all=True, apply=True), metadata=metadata), code, "UNAUTHENTICATED"
        )
        assert not served.upstream.calls


async def test_one_key_may_be_replaced_by_another_of_the_same_tenant() -> None:
    keys = [*AUTH["keys"], {"tenant": "acme", "sha256": hashlib.sha256(b"a newer key").hexdigest()}]
    async with serving({"auth": {"enabled": True, "keys": keys}}) as served:
        first = await complete(served.stub, "one", bearer("acme"))
        again = await complete(served.stub, "one", (("x-api-key", "a newer key"),))
        assert again.outcome.entry_id == first.outcome.entry_id


# -- the tenant header


async def test_a_tenant_header_is_not_trusted_beside_a_key_that_is_no_gateways() -> None:
    for auth in (AUTH, with_gateway()):
        async with serving({"auth": auth}) as served:
            code = grpc.StatusCode.PERMISSION_DENIED
            for named in ("bob", "", "ACME"):
                metadata = (*bearer("acme"), ("x-semcache-tenant", named))
                await refused(complete(served.stub, "one", metadata), code, "TENANT_HEADER_NOT_TRUSTED")


async def test_a_gateways_tenant_header_names_the_tenant() -> None:
    async with serving({"auth": with_gateway()}) as served:
        await complete(served.stub, "one", (*GATEWAY, ("x-semcache-tenant", "bob")))
        assert (await complete(served.stub, "one", bearer("bob"))).outcome.status == pb.STATUS_EXACT_HIT
        for metadata in (bearer("acme"), GATEWAY):  # Without the header a gateway asks for its own tenant.
            assert (await complete(served.stub, "one", metadata)).outcome.status == pb.STATUS_MISS


@pytest.mark.parametrize("named", ["", " ", "a b", "-x", "x" * 129, "a,b", "acme,bob"])
async def test_a_gateways_tenant_header_must_be_a_name(named: str) -> None:
    async with serving({"auth": with_gateway()}) as served:
        metadata = (*GATEWAY, ("x-semcache-tenant", named))
        await refused(complete(served.stub, "one", metadata), grpc.StatusCode.PERMISSION_DENIED, "INVALID_TENANT")


@pytest.mark.parametrize(
    ("key", "twice"),
    [
        (GATEWAY, (("x-semcache-tenant", "bob"), ("x-semcache-tenant", "acme"))),
        (GATEWAY, (("x-semcache-tenant", "bob"), ("x-semcache-tenant", "bob"))),
        (GATEWAY, (("x-semcache-tenant", ""), ("x-semcache-tenant", "bob"))),
        (bearer("acme"), (("x-semcache-tenant", "acme"), ("x-semcache-tenant", "acme"))),
        ((), (("x-api-key", "gateway-key"), ("x-api-key", "gateway-key"))),
        ((), (("x-api-key", "nobody's"), ("x-api-key", KEYS["acme"]))),
        ((), (*bearer("bob"), *bearer("acme"))),
        ((), (("authorization", "Basic x"), *bearer("acme"))),
    ],
    ids=["two tenants", "one tenant", "empty first", "no gateway", "keys", "wrong key first", "bearers", "basic first"],
)
async def test_a_header_that_says_who_asks_is_sent_once(key: Metadata, twice: Metadata) -> None:
    async with serving({"auth": with_gateway()}) as served:
        code = grpc.StatusCode.UNAUTHENTICATED
        await refused(complete(served.stub, "one", (*key, *twice)), code, "DUPLICATE_CREDENTIALS")
        assert not served.upstream.calls


async def test_naming_a_tenant_that_reads_all_savings_does_not_give_its_right() -> None:
    everything = pb.GetSavingsRequest(all_tenants=True)
    async with serving({"auth": with_gateway(read_all_savings=["acme"])}) as served:
        await served.stub.GetSavings(everything, metadata=bearer("acme"))
        named = (*GATEWAY, ("x-semcache-tenant", "acme"))
        await served.stub.GetSavings(pb.GetSavingsRequest(), metadata=named)
        code = grpc.StatusCode.PERMISSION_DENIED
        await refused(served.stub.GetSavings(everything, metadata=named), code, "OTHER_TENANTS_SAVINGS")


async def test_a_gateways_certificate_names_the_tenant_unless_a_key_beside_it_may_not(
    authority: Authority, files: Files
) -> None:
    tls = files.write(authority.issue("server"))
    (files.folder / "ca.pem").write_bytes(authority.pem)
    auth = {**AUTH, "certificates": [{"common_name": "edge", "tenant": "acme", "gateway": True}]}
    server = {"port": 0, "tls": {**tls, "client_ca_file": files.folder / "ca.pem"}}
    async with serving({"server": server, "auth": auth}) as served:
        shown, named = authority.issue("edge"), (("x-semcache-tenant", "bob"),)
        assert (await call(served, authority.pem, shown, named)).outcome.status == pb.STATUS_MISS
        both, code = (*bearer("acme"), *named), grpc.StatusCode.PERMISSION_DENIED
        await refused(call(served, authority.pem, shown, both), code, "TENANT_HEADER_NOT_TRUSTED")


@pytest.mark.parametrize("value", [True, "true", 1, "on", "maybe"])
def test_the_former_setting_is_refused_with_what_to_write_instead(value: object) -> None:
    with pytest.raises(SettingsError, match=r"write gateway = true in the \[\[auth.keys\]\]"):
        load_settings(None, {"auth": {**AUTH, "trust_tenant_header": value}})


@pytest.mark.parametrize("value", [False, "false", 0, "off"])
def test_the_former_setting_may_stay_where_it_is_off(value: object) -> None:
    assert load_settings(None, {"auth": {**AUTH, "trust_tenant_header": value}}).auth.keys


@pytest.mark.parametrize(
    "twice",
    [
        {"keys": [*AUTH["keys"], {**AUTH["keys"][0], "tenant": "bob"}]},
        {"certificates": [{"common_name": "c", "tenant": "acme"}, {"common_name": "c", "tenant": "bob"}]},
    ],
    ids=["a key", "a certificate"],
)
def test_a_credential_stands_in_the_settings_once(twice: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="twice"):
        load_settings(None, {"auth": {"enabled": True, **twice}})


async def test_with_auth_off_headers_mean_nothing() -> None:
    async with serving() as served:
        await complete(served.stub, "one", (("x-semcache-tenant", "bob"), ("x-api-key", "anything")))
        assert (await complete(served.stub, "one")).outcome.status == pb.STATUS_EXACT_HIT


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_with_auth_off_the_server_binds_loopback_only(host: str) -> None:
    with pytest.raises(SettingsError, match="loopback"):
        load_settings(None, {"server": {"host": host}})
    load_settings(None, {"server": {"host": host}, "auth": AUTH})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_has_several_names(host: str) -> None:
    load_settings(None, {"server": {"host": host}})


# -- one tenant and another


async def test_tenants_see_nothing_of_each_other() -> None:
    async with serving({"auth": AUTH, "decision": {"threshold": -1.0}}) as served:
        stub, acme, bob = served.stub, bearer("acme"), bearer("bob")
        first = await complete(stub, "How do I reset my password?", acme)
        hit = await complete(stub, "How do I reset my password?", acme)
        assert hit.outcome.status == pb.STATUS_EXACT_HIT

        for text in ("How do I reset my password?", "How do I reset it?"):
            found = await stub.Lookup(pb.LookupRequest(prompt=prompt(text)), metadata=bob)
            assert found.outcome.status == pb.STATUS_MISS
            told = await stub.Explain(pb.ExplainRequest(prompt=prompt(text)), metadata=bob)
            assert (told.status, told.exact_entry_id, len(told.candidates)) == (pb.STATUS_MISS, "", 0)
            assert told.partition_entries == 0
        assert not [entry async for entry in stub.ListEntries(pb.ListEntriesRequest(), metadata=bob)]
        savings = (await stub.GetSavings(pb.GetSavingsRequest(), metadata=bob)).total
        assert (savings.spent_nanousd, savings.saved_nanousd, savings.requests.exact_hit) == (0, 0, 0)

        verdict = pb.ReportVerdictRequest(hit_id=hit.outcome.hit_id, verdict=pb.VERDICT_WRONG)
        await refused(stub.ReportVerdict(verdict, metadata=bob), grpc.StatusCode.NOT_FOUND, "HIT_NOT_FOUND")
        for selector in (
            pb.InvalidateRequest(all=True, apply=True),
            pb.InvalidateRequest(entry_ids=[first.outcome.entry_id], apply=True),
            pb.InvalidateRequest(tags=["red"], apply=True),
            pb.InvalidateRequest(namespace="default", apply=True),
        ):
            assert (await stub.Invalidate(selector, metadata=bob)).matched_count == 0
        assert (await complete(stub, "How do I reset my password?", acme)).outcome.status == pb.STATUS_EXACT_HIT


async def test_lookup_ids_and_leases_are_their_tenants_own() -> None:
    async with serving({"auth": AUTH}) as served:
        stub, acme, bob = served.stub, bearer("acme"), bearer("bob")
        held = await stub.Lookup(pb.LookupRequest(prompt=prompt("one"), want_lease=True), metadata=acme)
        # The same request of another tenant waits for nobody and gets a lease of its own.
        other = await stub.Lookup(pb.LookupRequest(prompt=prompt("one"), want_lease=True), metadata=bob)
        assert other.lease.lease_id
        code = grpc.StatusCode.FAILED_PRECONDITION
        stolen = pb.StoreRequest(lookup_id=held.lookup_id, text="bob's")
        await refused(stub.Store(stolen, metadata=bob), code, "LOOKUP_FORGOTTEN")
        stolen = pb.StoreRequest(prompt=prompt("one"), lease_id=held.lease.lease_id, text="bob's")
        await refused(stub.Store(stolen, metadata=bob), code, "LEASE_EXPIRED")
        stored = pb.StoreRequest(lookup_id=held.lookup_id, lease_id=held.lease.lease_id, text="acme's")
        assert (await stub.Store(stored, metadata=acme)).stored
        found = await stub.Lookup(pb.LookupRequest(prompt=prompt("one")), metadata=acme)
        assert found.text == "acme's"


# -- certificates


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the tests' own."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return cls(key, _certificate(subject, subject, key, key, ca=True))

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """A private key and a certificate for `name`, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return _pem(key), _certificate(subject, self.certificate.subject, key, self.key, ca=False).public_bytes(
            serialization.Encoding.PEM
        )

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make("the tests' authority")


@dataclass(frozen=True)
class Files:
    """A server's certificate files."""

    folder: Path

    def write(self, issued: tuple[bytes, bytes], *, at_s: int = 1) -> dict[str, Any]:
        """Writes them with a time of their own, and gives the settings that name them."""
        for name, content in zip(("key.pem", "certificate.pem"), issued, strict=True):
            path = self.folder / name
            path.write_bytes(content)
            os.utime(path, (at_s, at_s))
        return {"key_file": self.folder / "key.pem", "certificate_file": self.folder / "certificate.pem"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def call(
    served: Served, root: bytes, client: tuple[bytes, bytes] | None = None, metadata: Metadata = ()
) -> pb.CompleteResponse:
    """One Complete over a connection of its own, that trusts `root` and shows `client`'s certificate."""
    key, certificate = client or (None, None)
    credentials = grpc.ssl_channel_credentials(root, key, certificate)
    options = (("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.secure_channel(served.address, credentials, options) as channel:
        return await complete(SemanticCacheServiceStub(channel), "one", metadata)


async def unreachable(served: Served, root: bytes, client: tuple[bytes, bytes] | None = None) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call(served, root, client, bearer("acme"))
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_tls_with_keys(authority: Authority, files: Files) -> None:
    tls = files.write(authority.issue("server"))
    async with serving({"server": {"port": 0, "tls": tls}, "auth": AUTH}) as served:
        assert (await call(served, authority.pem, metadata=bearer("acme"))).text == "Answer to: one"
        await refused(call(served, authority.pem), grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        await unreachable(served, Authority.make("somebody else").pem)
        with pytest.raises(grpc.aio.AioRpcError) as plain:  # In the clear nothing is understood.
            await complete(served.stub, "one", bearer("acme"))
        assert plain.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_client_certificates_name_tenants(authority: Authority, files: Files) -> None:
    tls = files.write(authority.issue("server"))
    (files.folder / "ca.pem").write_bytes(authority.pem)
    auth = {
        "enabled": True,
        "keys": AUTH["keys"],
        "certificates": [{"common_name": "acme's frontend", "tenant": "acme"}],
    }
    server = {"port": 0, "tls": {**tls, "client_ca_file": files.folder / "ca.pem"}}
    async with serving({"server": server, "auth": auth}) as served:
        known, unknown = authority.issue("acme's frontend"), authority.issue("nobody's frontend")
        assert (await call(served, authority.pem, known)).outcome.status == pb.STATUS_MISS
        # The key of the same tenant leads to the same entries, another tenant's key to none.
        with_key = await call(served, authority.pem, unknown, bearer("acme"))
        assert with_key.outcome.status == pb.STATUS_EXACT_HIT
        unauthenticated = grpc.StatusCode.UNAUTHENTICATED
        assert (await call(served, authority.pem, known, bearer("acme"))).outcome.status == pb.STATUS_EXACT_HIT
        await refused(call(served, authority.pem, known, bearer("bob")), unauthenticated, "CREDENTIALS_DISAGREE")
        wrong = (("x-api-key", "nobody's"),)
        await refused(call(served, authority.pem, known, wrong), unauthenticated, "UNAUTHENTICATED")
        await refused(call(served, authority.pem, unknown), grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        # Without a certificate, or with one that says the right name under the wrong authority, there is no connection.
        await unreachable(served, authority.pem)
        await unreachable(served, authority.pem, Authority.make("somebody else").issue("acme's frontend"))


@pytest.mark.parametrize(
    "name",
    ["acme\0.evil", "acme\0", "\0acme", "acme\n", "ac\x1bme", "acme\x7f", "acme\u200b", "acme\u2028", "acme\u202e"],
    ids=["nul inside", "nul last", "nul first", "newline", "escape", "delete", "zero width", "line", "right to left"],
)
async def test_a_certificate_whose_name_has_invisible_characters_is_nobodys(
    authority: Authority, files: Files, name: str
) -> None:
    tls = files.write(authority.issue("server"))
    (files.folder / "ca.pem").write_bytes(authority.pem)
    auth = {**AUTH, "certificates": [{"common_name": "acme", "tenant": "acme"}]}
    server = {"port": 0, "tls": {**tls, "client_ca_file": files.folder / "ca.pem"}}
    async with serving({"server": server, "auth": auth}) as served:
        shown, code = authority.issue(name), grpc.StatusCode.UNAUTHENTICATED
        await refused(call(served, authority.pem, shown), code, "INVALID_CERTIFICATE_NAME")
        await refused(call(served, authority.pem, shown, bearer("acme")), code, "INVALID_CERTIFICATE_NAME")
        assert not served.upstream.calls


async def test_certificates_are_read_again_when_their_files_change(authority: Authority, files: Files) -> None:
    newer = Authority.make("the newer authority")
    clock = FakeClock()
    tls = {**files.write(authority.issue("server"), at_s=1), "reload_interval_s": 10.0}
    async with serving({"server": {"port": 0, "tls": tls}, "auth": AUTH}, clock=clock) as served:
        await call(served, authority.pem, metadata=bearer("acme"))
        files.write(newer.issue("server"), at_s=2)
        await call(served, authority.pem, metadata=bearer("acme"))  # Too early to look.
        clock.advance(11.0)
        await call(served, newer.pem, metadata=bearer("acme"))
        await unreachable(served, authority.pem)


@pytest.mark.parametrize("what", ["garbage", "gone", "half"])
async def test_certificates_that_cannot_be_read_leave_the_last_good_ones(
    authority: Authority, files: Files, what: str
) -> None:
    clock = FakeClock()
    tls = {**files.write(authority.issue("server"), at_s=1), "reload_interval_s": 10.0}
    async with serving({"server": {"port": 0, "tls": tls}, "auth": AUTH}, clock=clock) as served:
        await call(served, authority.pem, metadata=bearer("acme"))
        newer = authority.issue("server")
        if what == "garbage":
            files.write((b"no key", b"no certificate"), at_s=2)
        elif what == "gone":
            (files.folder / "certificate.pem").unlink()
        else:  # The certificate is written, its key not yet.
            files.write(((files.folder / "key.pem").read_bytes(), newer[1]), at_s=2)
        clock.advance(11.0)
        for _ in range(3):
            await call(served, authority.pem, metadata=bearer("acme"))
        files.write(newer, at_s=3)
        clock.advance(11.0)
        await call(served, authority.pem, metadata=bearer("acme"))


# -- what each tenant is told of the server


async def test_a_tenant_is_told_its_own_counters_and_nothing_of_others() -> None:
    async with serving({"auth": with_gateway(read_all_savings=["edge"])}) as served:
        stub = served.stub
        secret = pb.StoreRequest(prompt=prompt("two", model="acme-secret-model"), text="an answer")
        await stub.Store(secret, metadata=bearer("acme"))
        for _ in range(3):
            hit = await complete(stub, "one", bearer("acme"))
        verdict = pb.ReportVerdictRequest(hit_id=hit.outcome.hit_id, verdict=pb.VERDICT_WRONG)
        await stub.ReportVerdict(verdict, metadata=bearer("acme"))

        acme = await stub.GetStats(pb.GetStatsRequest(), metadata=bearer("acme"))
        assert (acme.requests.miss, acme.requests.exact_hit, acme.verdicts_wrong, acme.whole) == (1, 2, 1, False)
        assert acme.hit_ratio == pytest.approx(2 / 3)
        assert [model.model for model in acme.unpriced_models] == ["acme-secret-model"]
        assert acme.spent_nanousd > 0
        assert acme.saved_nanousd > 0

        bob = await stub.GetStats(pb.GetStatsRequest(), metadata=bearer("bob"))
        told = {field.name for field, _ in bob.ListFields()}
        assert told == {"version", "start_time", "uptime", "requests", "embedder"}
        assert bob.requests == pb.RequestCounts()

        whole = await stub.GetStats(pb.GetStatsRequest(), metadata=GATEWAY)
        assert (whole.requests, whole.unpriced_models) == (acme.requests, acme.unpriced_models)
        assert (whole.whole, whole.entries, len(whole.queues) > 0) == (True, 1, True)


async def test_a_gateway_is_told_what_the_tenant_that_it_names_is_told() -> None:
    async with serving({"auth": with_gateway(read_all_savings=["edge", "acme"])}) as served:
        await complete(served.stub, "one", bearer("acme"))
        for tenant, misses in (("acme", 1), ("bob", 0)):
            metadata = (*GATEWAY, ("x-semcache-tenant", tenant))
            stats = await served.stub.GetStats(pb.GetStatsRequest(), metadata=metadata)
            assert (stats.whole, stats.requests.miss, stats.entries) == (False, misses, 0)


async def test_with_auth_off_everybody_is_told_all() -> None:
    async with serving() as served:
        await complete(served.stub, "one")
        stats = await served.stub.GetStats(pb.GetStatsRequest())
        assert (stats.whole, stats.requests.miss, stats.entries) == (True, 1, 1)
