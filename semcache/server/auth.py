"""From credentials to the caller: an API key, a client certificate or, with auth off, the only tenant there is."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from semcache.errors import PermissionDeniedError, UnauthenticatedError
from semcache.settings import ALL_ROLES, ApiKey, AuthSettings, ClientCertificate, Role

SOLE_TENANT = "default"
TENANT_HEADER = "x-semcache-tenant"
_KEY_HEADERS = ("x-api-key", "api-key")
"""Anthropic's header, then Azure's."""
_AUTHORIZATION = "authorization"
_HEADERS = frozenset({*_KEY_HEADERS, _AUTHORIZATION, TENANT_HEADER})
"""The headers that say who asks."""
_HASH_DIGITS = 8
"""Digits of a key's hash that name the key: enough to tell keys apart, and of no use to guess one."""
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a caller shows of itself, whatever the transport. Nothing of it is checked yet.

    Attributes:
        api_key: the key as it was sent; None for no key.
        certificate_names: common names of the client certificate that TLS has verified; empty for no certificate.
        tenant_header: the tenant that the caller names itself; None for none.
    """

    api_key: str | bytes | None = None
    certificate_names: tuple[str, ...] = ()
    tenant_header: str | bytes | None = None

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[str, str | bytes]], certificate_names: tuple[str, ...] = ()) -> Self:
        """Read the headers of a call; gRPC calls them metadata.

        `x-api-key` comes before `api-key`, and that before `authorization: Bearer KEY`, even when it is empty.

        Args:
            headers: pairs of name, in lower case, and value, as often as they were sent.
            certificate_names: common names of the verified client certificate.

        Raises:
            UnauthenticatedError: DUPLICATE_CREDENTIALS: a header that says who asks was sent twice. Proxies disagree
                on which of two counts, so neither does here.
        """
        read: dict[str, str | bytes] = {}
        for name, value in headers:
            if name not in _HEADERS:
                continue
            if name in read:
                raise UnauthenticatedError(
                    f"The {name} metadata was sent twice.", reason="DUPLICATE_CREDENTIALS", hint="Send it once."
                )
            read[name] = value
        key = next((read[name] for name in _KEY_HEADERS if name in read), None)
        authorization = read.get(_AUTHORIZATION)
        if key is None and isinstance(authorization, str) and authorization[:7].lower() == "bearer ":
            key = authorization[7:].strip()
        return cls(key or None, certificate_names, read.get(TENANT_HEADER))


NO_CREDENTIALS = Credentials()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what its credential allows.

    Attributes:
        tenant: the tenant that it asks for.
        name: what audit lines call its credential.
        roles: what it may do.
        reads_all: it may read what is counted of all tenants.
        own_embeddings: it may send an embedding of its own with a Store.
    """

    tenant: str
    name: str
    roles: frozenset[Role]
    reads_all: bool
    own_embeddings: bool

    def require(self, role: Role) -> None:
        """Return if the caller has the role.

        Raises:
            PermissionDeniedError: ROLE_MISSING.
        """
        if role not in self.roles:
            raise PermissionDeniedError(
                f"The credential has no role {role!r}, which this call needs.",
                reason="ROLE_MISSING",
                hint="Add the role to the credential's roles in the server's settings, or show another credential.",
                metadata={"role": role},
            )

    def require_own_embeddings(self) -> None:
        """Return if the caller may send embeddings of its own.

        Raises:
            PermissionDeniedError: EMBEDDING_NOT_ALLOWED.
        """
        if not self.own_embeddings:
            raise PermissionDeniedError(
                "The credential may not send embeddings of its own.",
                reason="EMBEDDING_NOT_ALLOWED",
                hint="Send no embedding: the server makes it. Or set own_embeddings = true on the credential.",
            )


@dataclass(frozen=True, slots=True)
class _Grant:
    """What the settings give one credential: its caller, and whether that may name the tenant."""

    caller: Caller
    gateway: bool


SOLE_CALLER = Caller(SOLE_TENANT, "anybody", frozenset(ALL_ROLES), reads_all=True, own_embeddings=True)
"""Everybody, where authentication is off: there is one tenant, on this machine alone, and it can harm only itself."""


class Authenticator:
    """Names the caller behind credentials."""

    def __init__(self, settings: AuthSettings) -> None:
        self.reads_headers = settings.enabled
        """Whether a front must collect credentials; with auth off it need not."""
        self.reads_certificates = settings.enabled and bool(settings.certificates)
        """Whether a front must collect the names of client certificates."""
        read_all = frozenset(settings.read_all_savings)

        def grant(item: ApiKey | ClientCertificate, name: str) -> _Grant:
            caller = Caller(
                item.tenant,
                name,
                frozenset(item.roles),
                reads_all=item.tenant in read_all,
                own_embeddings=item.own_embeddings,
            )
            return _Grant(caller, item.gateway)

        self._keys: Mapping[str, _Grant] = {
            key.sha256: grant(key, key.name or f"key:{key.sha256[:_HASH_DIGITS]}") for key in settings.keys
        }
        self._subjects: Mapping[str, _Grant] = {
            item.common_name: grant(item, f"certificate:{item.common_name}") for item in settings.certificates
        }

    def caller(self, credentials: Credentials) -> Caller:
        """Return the caller. A key and a certificate that are both shown must name the same tenant.

        Where both are shown, what the settings give the key counts. A certificate without a tenant in the settings
        names nobody: then the key alone counts.

        Raises:
            UnauthenticatedError: there is no credential, or an unknown one, or two that name different tenants.
            PermissionDeniedError: the caller may not name a tenant, or names none.
        """
        if not self.reads_headers:
            return SOLE_CALLER
        grant = self._granted(credentials)
        named = credentials.tenant_header
        if named is None or named == grant.caller.tenant:
            return grant.caller
        if not grant.gateway:
            raise PermissionDeniedError(
                f"The {TENANT_HEADER} metadata names another tenant than the credential.",
                reason="TENANT_HEADER_NOT_TRUSTED",
                hint="Leave it out, or set gateway = true on the credential of a gateway.",
            )
        if not isinstance(named, str) or not _TENANT.fullmatch(named):
            raise PermissionDeniedError(f"The {TENANT_HEADER} metadata is no tenant's name.", reason="INVALID_TENANT")
        # A right over all tenants is the credential's own: naming a tenant that has it must not give it.
        return replace(grant.caller, tenant=named, reads_all=False)

    def _granted(self, credentials: Credentials) -> _Grant:
        by_key = self._by_key(credentials.api_key) if credentials.api_key else None
        by_certificate = [self._subjects[name] for name in credentials.certificate_names if name in self._subjects]
        grants = by_certificate if by_key is None else [by_key, *by_certificate]
        # A key that is shown must be right: a certificate beside it doesn't make up for a wrong one.
        if not grants or (credentials.api_key and by_key is None):
            raise UnauthenticatedError(
                "The call shows no API key and no client certificate that the server knows.",
                hint="Send the metadata 'authorization: Bearer KEY'.",
            )
        if any(grant.caller.tenant != grants[0].caller.tenant for grant in grants):
            raise UnauthenticatedError(
                "The credentials of the call name different tenants.",
                reason="CREDENTIALS_DISAGREE",
                hint="Show the API key or the client certificate alone, or two of the same tenant.",
            )
        return grants[0]

    def _by_key(self, api_key: str | bytes) -> _Grant | None:
        raw = api_key if isinstance(api_key, bytes) else api_key.encode()
        digest = hashlib.sha256(raw).hexdigest()
        # Every hash is compared, each in constant time: the time taken doesn't show which hash was nearly right.
        grant = None
        for known, owner in self._keys.items():
            if hmac.compare_digest(known, digest):
                grant = owner
        return grant
