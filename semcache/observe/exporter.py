"""The metrics page over HTTP on a port of its own, served by a thread beside the event loop."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from semcache.errors import StartError

_log = structlog.get_logger(__name__)

_CLIENT_TIMEOUT_S = 10.0
"""The connection of a client that sends nothing for this long is closed, so that it holds no thread."""
_SHUTDOWN_POLL_S = 0.05
"""How often the thread looks whether it is to end: the longest that `close` waits for it."""

_StartResponse = Callable[[str, list[tuple[str, str]]], object]


class ExporterOptions(Protocol):
    """The settings that the exporter reads (`settings.MetricsSettings` has them)."""

    @property
    def host(self) -> str:
        """The address to bind."""
        ...

    @property
    def port(self) -> int:
        """The port to bind; 0 picks a free one."""
        ...


class Exporter:
    """Serves `GET /metrics`, in Prometheus' text format or OpenMetrics as the client asks, and `GET /healthz`.

    It only answers requests: it opens no connection of its own.
    """

    def __init__(self, server: WSGIServer) -> None:
        self._server = server
        self._thread = Thread(
            target=server.serve_forever, args=(_SHUTDOWN_POLL_S,), name="semcache-metrics", daemon=True
        )
        self._thread.start()

    @classmethod
    def start(cls, settings: ExporterOptions, registry: CollectorRegistry) -> Exporter:
        """Bind the address and serve on a thread.

        Args:
            settings: the address.
            registry: the metrics that the page shows.

        Raises:
            StartError: the address is in use, not this machine's, or not allowed.
        """
        try:
            family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
            server = _server_class(family)((str(address[0]), settings.port), _Handler)
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            cause = "the address is in use" if in_use else error.strerror or str(error)
            raise StartError(
                f"The metrics page can't be served on {settings.host}:{settings.port}: {cause}.",
                hint="Set metrics.port to a free port (0 picks one), or metrics.enabled = false."
                if in_use
                else "Set metrics.host and metrics.port to an address of this machine.",
            ) from error
        server.set_app(_page(registry))
        return cls(server)

    @property
    def port(self) -> int:
        """The port that is bound."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop serving and free the port; blocks for 50 ms at most. Closing again does nothing."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _page(registry: CollectorRegistry) -> Callable[[dict[str, Any], _StartResponse], Iterable[bytes]]:
    def application(environ: dict[str, Any], start_response: _StartResponse) -> Iterable[bytes]:
        status, content_type, body = "200 OK", "text/plain; charset=utf-8", b"ok\n"
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            status, body = "405 Method Not Allowed", b"GET /metrics\n"
        elif environ["PATH_INFO"] == "/metrics":
            encode, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
            body = encode(registry)
        elif environ["PATH_INFO"] != "/healthz":
            status, body = "404 Not Found", b"GET /metrics\n"
        start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return application


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # WSGIServer's method asks the name service for the host's full name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - socketserver's
        _log.debug("observe.client_failed", client=str(client_address), exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


def _server_class(family: int) -> type[_Server]:
    return _Server6 if family == socket.AF_INET6 else _Server


class _Handler(WSGIRequestHandler):
    timeout = _CLIENT_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Write nothing: a scrape every few seconds would fill the log."""
