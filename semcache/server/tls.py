"""TLS for the listener: certificates are read again when their files change."""

from __future__ import annotations

import threading
from pathlib import Path

import grpc
import structlog

from semcache.errors import StartError
from semcache.ports import Clock
from semcache.settings import TlsSettings

_log = structlog.get_logger(__name__)


class ReloadingCertificates:
    """Gives gRPC the current certificates. While a file can't be read, the last good ones stay in use."""

    def __init__(self, settings: TlsSettings, clock: Clock) -> None:
        """Read the certificates.

        Raises:
            StartError: a file can't be read.
        """
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._stamp = self._read_stamp()
        self._checked_s = clock.monotonic()
        self._current = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that follow the files."""
        return grpc.dynamic_ssl_server_credentials(
            self._current, self._fetch, require_client_authentication=self._settings.client_ca_file is not None
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration:
        # gRPC calls this on its own threads at each handshake. Returning the object that it has changes nothing.
        with self._lock:
            now_s = self._clock.monotonic()
            if now_s - self._checked_s < self._settings.reload_interval_s:
                return self._current
            self._checked_s = now_s
            try:
                stamp = self._read_stamp()
                if stamp == self._stamp:
                    return self._current
                self._current = self._read()
            except StartError as error:
                _log.error("server.tls_reload_failed", error=str(error))
                return self._current
            self._stamp = stamp
            _log.info("server.tls_reloaded", certificate=str(self._settings.certificate_file))
            return self._current

    def _files(self) -> list[Path]:
        settings = self._settings
        return [path for path in (settings.key_file, settings.certificate_file, settings.client_ca_file) if path]

    def _read_stamp(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in self._files())
        except OSError as error:
            raise StartError(f"{error.filename} can't be read: {error.strerror}.") from error

    def _read(self) -> grpc.ServerCertificateConfiguration:
        try:
            key, certificate, *client_ca = (path.read_bytes() for path in self._files())
        except OSError as error:
            raise StartError(f"{error.filename} can't be read: {error.strerror}.") from error
        return grpc.ssl_server_certificate_configuration(
            [(key, certificate)], root_certificates=client_ca[0] if client_ca else None
        )
