"""Who may call, how, and how much: listener, TLS, credentials, limits, and the secret behind partitions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    Field,
    SecretStr,
    model_validator,
)

from semcache.settings.section import Bytes, Count, Name, Seconds, Section


class TlsSettings(Section):
    """Server certificate; the files are read again when they change, without a restart."""

    certificate_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    """Set: clients must show a certificate signed by it, and its subject may name the tenant (`auth.certificates`)."""
    reload_interval_s: Seconds = 10.0
    """How often the files' times are looked at."""

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


class ServerSettings(Section):
    """The gRPC listener."""

    host: str = "127.0.0.1"
    """Loopback: with auth off nothing else is allowed."""
    port: Annotated[int, Field(ge=0, le=65535)] = 50051
    """0 picks a free port; `serve` prints it."""
    grace_s: Seconds = 20.0
    """After SIGTERM in-flight calls may finish for this long: longer than most answers, below Kubernetes' 30 s."""
    max_message_bytes: Bytes = 4 * 1024 * 1024
    """gRPC's own default; a prompt of 4 MiB is about a million tokens."""
    max_in_flight: Count = 1024
    """Calls at once; beyond it a call is refused with OVERLOADED instead of waiting."""
    max_connections_age_s: Seconds = 3600.0
    """Connections are renewed so that load balancers can move them."""
    keepalive_s: Seconds = 30.0
    """A ping on quiet connections, so that dead peers are noticed."""
    reflection: bool = True
    """The schema is public; generic tools need it."""
    batch_scheduling: bool = True
    """On Linux, run under SCHED_BATCH: a thread that wakes waits for the one that runs, another process's too, instead
    of interrupting it. An exact hit then takes a sixth less of the processor, and a server with all cores busy answers
    more; one that is idle beside processes that take every core answers later (99th percentile 7 ms instead of 4). A
    policy that the server was started with is left as it is."""
    tls: TlsSettings = TlsSettings()


class ApiKey(Section):
    """One API key, known only by its hash."""

    tenant: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hex SHA-256 of the key: `printf %s "$KEY" | sha256sum`. Keys are long and random, so a plain hash suffices."""


class ClientCertificate(Section):
    """A client certificate's common name that stands for a tenant."""

    common_name: Annotated[str, Field(min_length=1, max_length=256)]
    tenant: Name


class AuthSettings(Section):
    """Who is asking. Off: one tenant, `default`, and loopback only."""

    enabled: bool = False
    keys: tuple[ApiKey, ...] = ()
    certificates: tuple[ClientCertificate, ...] = ()
    trust_tenant_header: bool = False
    """True: an authenticated caller may name the tenant in the `x-semcache-tenant` metadata. Only behind a gateway
    that sets it itself."""
    read_all_savings: tuple[Name, ...] = ()
    """Tenants whose callers GetSavings tells of every tenant: whoever answers for the money."""


class LimitSettings(Section):
    """Everything that can grow, and how far."""

    prompt_chars: Count = 1_000_000
    """Characters of all messages of one request."""
    json_depth: Count = 64
    """Nesting of the request's JSON; deeper is refused before parsing."""
    tags: Count = 32
    """Tags, and sources, of one entry."""
    tenant_in_flight: Count = 256
    """Calls at once of one tenant: a quarter of the server's, so that one tenant can't starve the others."""
    batch_items: Count = 256
    """Items of one LookupBatch or StoreBatch."""
    answer_bytes: Bytes = 16 * 1024 * 1024
    """One answer, and so what a stream may buffer for its followers."""
    list_entries: Count = 10_000
    """Entries that one ListEntries call streams at most."""
    pending_lookups: Count = 100_000
    """Lookup ids remembered for a later Store."""
    lookup_ttl_s: Seconds = 600.0
    """How long a lookup id may be used: longer than the slowest generation."""
    lease_max_s: Seconds = 120.0
    """The longest lease that a Lookup may ask for."""


class KeySettings(Section):
    """The secret behind partitions. Partitions are HMACs: without the secret nobody can name another tenant's."""

    secret: SecretStr | None = None
    """At least 16 characters. None: `secret_file`."""
    secret_file: Path | None = None
    """None: `<store.path>/partition.secret`, made on the first start with mode 0600."""
    previous_secrets: tuple[SecretStr, ...] = ()
    """Kept for reading while entries made under them live; new entries use the current one."""

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        minimum = 16
        secrets = [*self.previous_secrets, *([self.secret] if self.secret else [])]
        if any(len(secret.get_secret_value()) < minimum for secret in secrets):
            message = f"a secret needs at least {minimum} characters"
            raise ValueError(message)
        return self
