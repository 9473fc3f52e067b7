"""From credentials to the tenant: an API key, a client certificate or, with auth off, the only tenant there is."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from semcache.errors import PermissionDeniedError, UnauthenticatedError
from semcache.settings import AuthSettings

SOLE_TENANT = "default"
TENANT_HEADER = "x-semcache-tenant"
_KEY_HEADER = "x-api-key"
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
    def from_headers(cls, headers: Mapping[str, str | bytes], certificate_names: tuple[str, ...] = ()) -> Self:
        """Read the headers of a call; gRPC calls them metadata.

        `x-api-key` comes before `authorization: Bearer KEY`, even when it is empty.

        Args:
            headers: values by name in lower case.
            certificate_names: common names of the verified client certificate.
        """
        key = headers.get(_KEY_HEADER)
        authorization = headers.get("authorization")
        if key is None and isinstance(authorization, str) and authorization[:7].lower() == "bearer ":
            key = authorization[7:].strip()
        return cls(key or None, certificate_names, headers.get(TENANT_HEADER))


NO_CREDENTIALS = Credentials()


class Authenticator:
    """Names the tenant behind credentials."""

    def __init__(self, settings: AuthSettings) -> None:
        self.reads_headers = settings.enabled
        """Whether a front must collect credentials; with auth off it need not."""
        self.reads_certificates = settings.enabled and bool(settings.certificates)
        """Whether a front must collect the names of client certificates."""
        self._trusts_header = settings.trust_tenant_header
        self._keys: Mapping[str, str] = {key.sha256: key.tenant for key in settings.keys}
        self._subjects: Mapping[str, str] = {item.common_name: item.tenant for item in settings.certificates}

    def tenant(self, credentials: Credentials) -> str:
        """Return the tenant of a caller. A key and a certificate that are both shown must name the same one.

        A certificate without a tenant in the settings names nobody: then the key alone counts.

        Raises:
            UnauthenticatedError: there is no credential, or an unknown one, or two that name different tenants.
            PermissionDeniedError: the tenant header isn't trusted, or its value is no name.
        """
        if not self.reads_headers:
            return SOLE_TENANT
        tenant = self._credentialled(credentials)
        named = credentials.tenant_header
        if named is None or named == tenant:
            return tenant
        if not self._trusts_header:
            raise PermissionDeniedError(
                f"The {TENANT_HEADER} metadata names another tenant than the credential.",
                reason="TENANT_HEADER_NOT_TRUSTED",
                hint="Leave it out, or set auth.trust_tenant_header behind a gateway.",
            )
        if not isinstance(named, str) or not _TENANT.fullmatch(named):
            raise PermissionDeniedError(f"The {TENANT_HEADER} metadata is no tenant's name.", reason="INVALID_TENANT")
        return named

    def _credentialled(self, credentials: Credentials) -> str:
        by_key = self._by_key(credentials.api_key) if credentials.api_key else None
        by_certificate = {self._subjects[name] for name in credentials.certificate_names if name in self._subjects}
        tenants = by_certificate | ({by_key} if by_key is not None else set())
        # A key that is shown must be right: a certificate beside it doesn't make up for a wrong one.
        if not tenants or (credentials.api_key and by_key is None):
            raise UnauthenticatedError(
                "The call shows no API key and no client certificate that the server knows.",
                hint="Send the metadata 'authorization: Bearer KEY'.",
            )
        if len(tenants) > 1:
            raise UnauthenticatedError(
                "The credentials of the call name different tenants.",
                reason="CREDENTIALS_DISAGREE",
                hint="Show the API key or the client certificate alone, or two of the same tenant.",
            )
        return tenants.pop()

    def _by_key(self, api_key: str | bytes) -> str | None:
        raw = api_key if isinstance(api_key, bytes) else api_key.encode()
        digest = hashlib.sha256(raw).hexdigest()
        # Every hash is compared, each in constant time: the time taken doesn't show which hash was nearly right.
        tenant = None
        for known, owner in self._keys.items():
            if hmac.compare_digest(known, digest):
                tenant = owner
        return tenant
