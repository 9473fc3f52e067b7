"""Who is asking: from an API key, a client certificate, or, with auth off, the one tenant there is."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping

import grpc

from semcache.errors import PermissionDeniedError, UnauthenticatedError
from semcache.settings import AuthSettings

SOLE_TENANT = "default"
TENANT_HEADER = "x-semcache-tenant"
_KEY_HEADER = "x-api-key"
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}")


class Authenticator:
    """Names the tenant of a call."""

    def __init__(self, settings: AuthSettings) -> None:
        self._enabled = settings.enabled
        self._trust_header = settings.trust_tenant_header
        self._keys: Mapping[str, str] = {key.sha256: key.tenant for key in settings.keys}
        self._subjects: Mapping[str, str] = {item.common_name: item.tenant for item in settings.certificates}

    def tenant(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> str:
        """The tenant of a call.

        Raises:
            UnauthenticatedError: no credential, or an unknown one.
            PermissionDeniedError: a tenant header that isn't trusted or is no name.
        """
        if not self._enabled:
            return SOLE_TENANT
        metadata = dict(context.invocation_metadata() or ())
        tenant = self._by_key(metadata) or self._by_certificate(context.auth_context())
        if tenant is None:
            raise UnauthenticatedError(
                "The call shows no API key and no client certificate that the server knows.",
                hint="Send the metadata 'authorization: Bearer KEY'.",
            )
        named = metadata.get(TENANT_HEADER)
        if named is None or named == tenant:
            return tenant
        if not self._trust_header:
            raise PermissionDeniedError(
                f"The {TENANT_HEADER} metadata names another tenant than the credential.",
                reason="TENANT_HEADER_NOT_TRUSTED",
                hint="Leave it out, or set auth.trust_tenant_header behind a gateway.",
            )
        if not isinstance(named, str) or not _TENANT.fullmatch(named):
            raise PermissionDeniedError(f"The {TENANT_HEADER} metadata is no tenant's name.", reason="INVALID_TENANT")
        return named

    def _by_key(self, metadata: Mapping[str, str | bytes]) -> str | None:
        presented = metadata.get(_KEY_HEADER)
        authorization = metadata.get("authorization")
        if presented is None and isinstance(authorization, str) and authorization[:7].lower() == "bearer ":
            presented = authorization[7:].strip()
        if not presented:
            return None
        raw = presented if isinstance(presented, bytes) else presented.encode()
        digest = hashlib.sha256(raw).hexdigest()
        # Every hash is compared, in constant time each: how long it takes says nothing about which came near.
        found = None
        for known, tenant in self._keys.items():
            if hmac.compare_digest(known, digest):
                found = tenant
        return found

    def _by_certificate(self, auth_context: Mapping[str, Iterable[bytes]]) -> str | None:
        # A name counts only on a certificate that TLS has verified against the client CA.
        if not self._subjects or "x509_pem_cert" not in auth_context:
            return None
        names = [name.decode("utf-8", "replace") for name in auth_context.get("x509_common_name", ())]
        return next((self._subjects[name] for name in names if name in self._subjects), None)
