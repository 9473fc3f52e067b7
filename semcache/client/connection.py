"""How both clients reach a server: its address, their credentials, their timeout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from semcache.errors import InvalidRequestError

DEFAULT_ADDRESS = "127.0.0.1:50051"
DEFAULT_TIMEOUT_S = 330.0
"""Seconds. Longer than a server's default `upstream.deadline_s`, so that the server's own reason arrives first."""

# No limit here: an answer may exceed gRPC's default of 4 MiB, and the server sets a limit of its own.
CHANNEL_OPTIONS: Sequence[tuple[str, Any]] = (("grpc.max_receive_message_length", -1),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The address of a server, and how a client identifies itself there.

    Attributes:
        address: host and port.
        api_key: the key that every call shows; None for no key.
        tls: whether to use TLS; a named certificate turns it on as well.
        root_certificate: PEM file of the authorities to trust; None for the system's own.
        client_certificate: PEM file that identifies this client; None for none.
        client_key: PEM file with the key of `client_certificate`.
        timeout_s: seconds after which a call fails, for calls that name no timeout; None for no limit.

    Raises:
        InvalidRequestError: BAD_ADDRESS, BAD_API_KEY.
    """

    address: str = DEFAULT_ADDRESS
    api_key: str | None = field(default=None, repr=False)
    tls: bool = False
    root_certificate: Path | str | None = None
    client_certificate: Path | str | None = None
    client_key: Path | str | None = None
    timeout_s: float | None = DEFAULT_TIMEOUT_S

    def __post_init__(self) -> None:
        if not self.address.strip():
            raise InvalidRequestError("The address is empty.", reason="BAD_ADDRESS", hint="Name a host and a port.")
        if self.api_key and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise InvalidRequestError(
                "The API key has characters that can't be sent.",
                reason="BAD_API_KEY",
                hint="A key is printable ASCII: look for a line break at its end.",
            )

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of every call: the API key as a bearer token."""
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Read the certificates and return the TLS credentials; return None without TLS.

        Raises:
            InvalidRequestError: BAD_CERTIFICATE: a file can't be read, or a certificate comes without its key.
        """
        if (self.client_certificate is None) != (self.client_key is None):
            raise InvalidRequestError(
                "client_certificate and client_key go together.", reason="BAD_CERTIFICATE", hint="Name both files."
            )
        if not self.tls and self.root_certificate is None and self.client_certificate is None:
            return None
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.root_certificate),
            private_key=_read(self.client_key),
            certificate_chain=_read(self.client_certificate),
        )

    def timeout(self, requested_s: float | None) -> float | None:
        """Return the seconds that a call may take: what it requested, else this connection's `timeout_s`."""
        return self.timeout_s if requested_s is None else requested_s


def _read(path: Path | str | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InvalidRequestError(
            f"{path} can't be read: {error.strerror}.", reason="BAD_CERTIFICATE", hint="Name a PEM file."
        ) from error
    if b"-----BEGIN" not in content:
        raise InvalidRequestError(f"{path} is no PEM file.", reason="BAD_CERTIFICATE", hint="Convert it with openssl.")
    return content
