"""TLS for the listeners: certificates are read again when their files change."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog

from semcache.errors import StartError
from semcache.ports import Clock
from semcache.settings import TlsSettings

_log = structlog.get_logger(__name__)

Certificates = TypeVar("Certificates")


class ReloadingCertificates(Generic[Certificates]):
    """Gives a listener the current certificates in its own form. While a file can't be read, the last good ones stay.

    Any thread may call it.
    """

    def __init__(self, settings: TlsSettings, clock: Clock, read: Callable[[TlsSettings], Certificates]) -> None:
        """Read the certificates.

        Args:
            settings: where the files are.
            clock: says when the files are looked at again.
            read: reads the files; it raises OSError, ssl.SSLError among them, where it can't.

        Raises:
            StartError: a file can't be read.
        """
        self._settings = settings
        self._clock = clock
        self._read = read
        self._lock = threading.Lock()
        self._stamp = self._read_stamp()
        self._checked_s = clock.monotonic()
        self._current = self._read_files()

    def current(self) -> Certificates:
        """Return the certificates as they are now; the same object for as long as the files are the same."""
        with self._lock:
            now_s = self._clock.monotonic()
            if now_s - self._checked_s < self._settings.reload_interval_s:
                return self._current
            self._checked_s = now_s
            try:
                stamp = self._read_stamp()
                if stamp == self._stamp:
                    return self._current
                self._current = self._read_files()
            except StartError as error:
                _log.error("server.tls_reload_failed", error=str(error))
                return self._current
            self._stamp = stamp
            _log.info("server.tls_reloaded", certificate=str(self._settings.certificate_file))
            return self._current

    def _read_stamp(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in files_of(self._settings))
        except OSError as error:
            raise StartError(f"{error.filename} can't be read: {error.strerror}.") from error

    def _read_files(self) -> Certificates:
        try:
            return self._read(self._settings)
        except OSError as error:
            name = error.filename or self._settings.certificate_file
            raise StartError(f"{name} can't be read: {error.strerror or error}.") from error


def files_of(settings: TlsSettings) -> list[Path]:
    """Return the files: the key, the certificate, and the clients' CA where there is one."""
    return [path for path in (settings.key_file, settings.certificate_file, settings.client_ca_file) if path]


class ReloadingContext(ssl.SSLContext):
    """A context for asyncio's servers that makes each connection under the current certificates.

    Loading new files into a context that is in use would keep a client CA that was taken away.
    """

    _certificates: ReloadingCertificates[ssl.SSLContext]

    @classmethod
    def following(cls, settings: TlsSettings, clock: Clock) -> ReloadingContext:
        """Return a context that follows the files.

        Raises:
            StartError: a file can't be read.
        """
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        context._certificates = ReloadingCertificates(settings, clock, _context)
        return context

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection under the current certificates; asyncio calls it for each one."""
        return self._certificates.current().wrap_bio(*args, **options)


def _context(settings: TlsSettings) -> ssl.SSLContext:
    assert settings.certificate_file is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(settings.certificate_file, settings.key_file)
    if settings.client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(settings.client_ca_file)
    return context
