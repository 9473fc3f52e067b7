"""Settings of the server: listener, TLS, credentials, limits, and the secret behind partitions."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    model_validator,
)

from semcache.settings.section import Bytes, Count, Name, Seconds, Section


class TlsSettings(Section):
    """The server's certificate. The files are read again when they change, without a restart."""

    certificate_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    """Where it is set, clients must show a certificate signed by it, and `auth.certificates` may name their tenants."""
    reload_interval_s: Seconds = 10.0
    """How often the files are checked for a change."""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            message = "certificate_file and key_file go together"
            raise ValueError(message)
        if self.client_ca_file is not None and self.certificate_file is None:
            message = "client_ca_file needs certificate_file and key_file"
            raise ValueError(message)
        for path in (self.certificate_file, self.key_file, self.client_ca_file):
            if path is not None and not os.access(path, os.R_OK):
                message = f"{path} can't be read"
                raise ValueError(message)
        return self

    @property
    def enabled(self) -> bool:
        """Whether the server speaks TLS."""
        return self.certificate_file is not None


_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def _as_browsers_write(origin: str) -> str:
    parts = _ORIGIN.fullmatch(origin)
    if parts is None or (parts[2] is not None and parts[2] == _DEFAULT_PORTS.get(parts[1])):
        message = (
            "an origin is a scheme, a host and a port that isn't the scheme's own, in lower case and without a path, "
            'such as "https://chat.example" or "http://localhost:3000"'
        )
        raise ValueError(message)
    return origin


Origin = Annotated[str, Field(max_length=256), AfterValidator(_as_browsers_write)]
"""An origin as browsers write it. There is no wildcard: each page that may call is named."""


class HttpSettings(Section):
    """The HTTP listener: OpenAI's and Anthropic's API, management, health. Credentials, TLS and limits are gRPC's."""

    enabled: bool = True
    host: str = "127.0.0.1"
    """The address to listen on. Without auth only a loopback address is allowed."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """0 picks a free port; `serve` prints it."""
    max_connections: Count = 1024
    """Connections at once. Of more, the one that has been idle longest is closed; where none is idle, the new one is
    refused with 503."""
    max_address_connections: Count = 256
    """Those of one peer address, likewise: a quarter, so that one client can't take all. Behind a proxy, whose address
    all clients share, it may be as high as `max_connections`."""
    max_header_bytes: Bytes = 32 * 1024
    """The largest head of a request: its first line and all headers."""
    stall_timeout_s: Seconds = 30.0
    """How long a client may take to send one whole request, and how long it may read nothing of a response. Then the
    connection is closed, so that a client that has stopped holds no place."""
    idle_timeout_s: Seconds = 75.0
    """How long a connection stays open without a request: longer than clients keep one, so that they close first."""
    unknown_paths: Literal["refuse", "pass"] = "refuse"
    """What becomes of a path under /v1/ that semcache doesn't know. refuse: 404. pass: the call goes to the target of
    its model, else of the route for `*`, uncached; no budget and no ledger counts what it costs (docs/http.md)."""
    hit_usage: Literal["own", "zero"] = "own"
    """The usage in the body of a hit. "own": that of the answer when it was made. "zero": 0 tokens, for programs that
    compute their spending from it."""
    allowed_origins: tuple[Origin, ...] = ()
    """Origins whose web pages may call from a browser (CORS), such as "https://chat.example". Empty: none may. Whoever
    opens such a page calls with what the page sends, so a key that stands in it is everybody's (docs/http.md)."""
    replay_pause_s: Annotated[float, Field(ge=0, le=60)] = 0.0
    """The pause between the chunks of a stream from the cache. 0: none, since most readers want the answer at once."""


class ServerSettings(Section):
    """The gRPC listener."""

    host: str = "127.0.0.1"
    """The address to listen on. Without auth only a loopback address is allowed."""
    port: Annotated[int, Field(ge=0, le=65535)] = 50051
    """0 picks a free port; `serve` prints it."""
    grace_s: Seconds = 20.0
    """Calls in flight may finish for this long after SIGTERM: longer than most answers, below Kubernetes' 30 s."""
    max_message_bytes: Bytes = 4 * 1024 * 1024
    """The largest message: gRPC's own default. A prompt of 4 MiB is about a million tokens."""
    max_in_flight: Count = 1024
    """Calls at once; beyond them a call is refused with OVERLOADED instead of waiting."""
    max_wait_s: Seconds = 1.0
    """The longest that a call may wait for the embedder, or for a place at a target. A call that would wait longer is
    refused at once, with OVERLOADED and the time after which to try again: under overload what is accepted stays
    fast."""
    max_connections: Count = 4096
    """Connections at once; further ones are closed at once. A connection needs a file descriptor: `ulimit -n` must be
    above it."""
    max_connection_streams: Count = 512
    """Calls at once over one connection, those included that the client has reset and the server hasn't seen yet:
    twice a tenant's calls in flight, so that a client hears of its limit. A client keeps further calls back until
    others have ended."""
    max_connections_age_s: Seconds = 3600.0
    """The age at which a connection is renewed, so that load balancers can move it."""
    keepalive_s: Seconds = 30.0
    """The time without traffic after which a connection gets a ping, so that dead peers are noticed."""
    reader_timeout_s: Seconds = 30.0
    """The time for which the reader of a stream may take nothing. Then the call ends with READER_STALLED, and the
    answer that waited for it is let go."""
    reflection: bool = True
    """Serve gRPC reflection: generic tools need it, and the schema is public."""
    batch_scheduling: bool = True
    """On Linux, run under SCHED_BATCH: a thread that wakes waits for the running thread, of another process too, and
    doesn't interrupt it. An exact hit then takes a sixth less CPU time, and a server whose cores are all busy answers
    more calls. An idle server beside processes that take every core answers later (99th percentile 7 ms instead of 4).
    A scheduling policy that the server was started with stays."""
    tls: TlsSettings = TlsSettings()
    http: HttpSettings = HttpSettings()


Role = Literal["read", "write", "admin"]
"""What a credential may do. No role includes another."""
ALL_ROLES: tuple[Role, ...] = get_args(Role)
Roles = Annotated[tuple[Role, ...], Field(min_length=1)]


class ApiKey(Section):
    """One API key, given by its hash."""

    tenant: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hex SHA-256 of the key: `printf %s "$KEY" | sha256sum`. Keys are long and random, so a plain hash suffices."""
    name: Name | None = None
    """What audit lines call the key. None: `key:` and the first eight digits of its hash."""
    roles: Roles = ALL_ROLES
    """What the key may do: "read" looks up, lists and counts; "write" completes, stores and reports verdicts; "admin"
    invalidates. No role includes another; by default a key has all."""
    gateway: bool = False
    """True: the key is a gateway's, which may name the tenant of each call in the `x-semcache-tenant` metadata. The
    gateway must set that metadata itself and drop what its own callers send."""
    own_embeddings: bool = False
    """True: the key may send an embedding of its own with a Store. A wrong one would serve the answer to unrelated
    requests of the tenant; a sample is checked (`embedding.given_sample_ratio`). With auth off, everybody may."""


def _printable(name: str) -> str:
    if not name.isprintable():
        message = "a common name has no control or invisible characters"
        raise ValueError(message)
    return name


class ClientCertificate(Section):
    """The tenant of a client certificate, by the certificate's common name."""

    common_name: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_printable)]
    tenant: Name
    roles: Roles = ALL_ROLES
    """What the certificate's caller may do, as for a key. Where a call shows a key as well, the key's roles count."""
    gateway: bool = False
    """True: the certificate is a gateway's, which may name the tenant of each call. Where a call shows a key as well,
    the key's own setting counts."""
    own_embeddings: bool = False
    """True: the certificate's caller may send embeddings of its own, as for a key. Where a call shows a key as well,
    the key's own setting counts."""


class AuthSettings(Section):
    """Credentials of callers. Without them there is one tenant, `default`, and only loopback is served."""

    enabled: bool = False
    keys: tuple[ApiKey, ...] = ()
    certificates: tuple[ClientCertificate, ...] = ()
    read_all_savings: tuple[Name, ...] = ()
    """Tenants whose own callers may read the savings of all tenants with GetSavings, and the whole server's state with
    GetStats. A gateway that names such a tenant may not."""

    @model_validator(mode="before")
    @classmethod
    def _without_trust_tenant_header(cls, given: object) -> object:
        """Refuse a former setting that was on: it let every caller name any tenant. Off, it is what holds now."""
        if not isinstance(given, Mapping) or "trust_tenant_header" not in given:
            return given
        if str(given["trust_tenant_header"]).strip().lower() not in {"false", "0", "no", "off", "f", "n"}:
            message = (
                "trust_tenant_header is no longer a setting: write gateway = true in the [[auth.keys]] or "
                "[[auth.certificates]] of each gateway instead"
            )
            raise ValueError(message)
        return {name: value for name, value in given.items() if name != "trust_tenant_header"}

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        hashes = [key.sha256 for key in self.keys]
        names = [certificate.common_name for certificate in self.certificates]
        if len(set(hashes)) < len(hashes) or len(set(names)) < len(names):
            message = "auth.keys has a sha256 twice, or auth.certificates a common_name"
            raise ValueError(message)
        return self


class LimitSettings(Section):
    """The limits of everything that can grow."""

    prompt_chars: Count = 1_000_000
    """Characters of all messages of one request."""
    json_depth: Count = 64
    """Levels of the request's JSON; a deeper one is refused before it is parsed."""
    values: Count = 20_000
    """Values of one message: fields, list items, messages, parts and entry ids, in JSON and in protobuf. So many are
    read in some tens of milliseconds; a message with more is refused before it is read."""
    tags: Count = 32
    """Tags of one entry, and sources of one entry."""
    tenant_in_flight: Count = 256
    """Calls at once of one tenant: a quarter of the server's, so that one tenant can't starve the others."""
    batch_items: Count = 256
    """Items of one LookupBatch or StoreBatch."""
    answer_bytes: Bytes = 16 * 1024 * 1024
    """The size of one answer, and so what a stream may buffer for those who wait for it."""
    stream_bytes: Bytes = 512 * 1024 * 1024
    """What all open streams may hold: the chunks of live answers that a reader hasn't read, and answers that are
    replayed. A stream for which there is no room is refused with STREAM_MEMORY before the upstream is asked."""
    tenant_stream_bytes: Bytes = 128 * 1024 * 1024
    """What the open streams of one tenant may hold: a quarter of all, and at least twice `answer_bytes`, which a
    replayed answer may take. A live stream needs room for one `answer_bytes` to begin. Of one that grows beyond, the
    slowest readers lose the stream, and its answer is stored all the same."""
    list_entries: Count = 10_000
    """Entries that one ListEntries call streams at most."""
    pending_lookups: Count = 100_000
    """Lookup ids that are remembered for a later Store. Of more, the tenant with most loses its oldest."""
    pending_lookup_bytes: Bytes = 256 * 1024 * 1024
    """Memory of the lookups behind these ids, as estimated: their texts and vectors. Tenants share it likewise."""
    lookup_ttl_s: Seconds = 600.0
    """How long a lookup id may be used: longer than the slowest generation."""
    lease_max_s: Seconds = 120.0
    """The longest lease that a Lookup may ask for."""

    @model_validator(mode="after")
    def _a_stream_fits(self) -> Self:
        if 2 * self.answer_bytes > self.tenant_stream_bytes:
            message = (
                "a replayed answer may take twice answer_bytes: lower answer_bytes, or raise tenant_stream_bytes to "
                f"{2 * self.answer_bytes} or more"
            )
            raise ValueError(message)
        if self.tenant_stream_bytes > self.stream_bytes:
            message = "tenant_stream_bytes may not be above stream_bytes: lower the former or raise the latter"
            raise ValueError(message)
        return self


class KeySettings(Section):
    """The secret behind partitions. Partitions are HMACs, so that nobody can compute another tenant's without it."""

    secret: SecretStr | None = None
    """The secret, 16 characters or more. None: it is read from `secret_file`."""
    secret_file: Path | None = None
    """The file with the secret. None: `<store.path>/partition.secret`, made at the first start with mode 0600."""
    previous_secrets: tuple[SecretStr, ...] = ()
    """Former secrets, for reading the entries that were made under them. New entries use the current secret."""

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        minimum = 16
        secrets = [*self.previous_secrets, *([self.secret] if self.secret else [])]
        if any(len(secret.get_secret_value()) < minimum for secret in secrets):
            message = f"a secret needs at least {minimum} characters"
            raise ValueError(message)
        return self
