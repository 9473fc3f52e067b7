"""A container's health check: exits with 0 if the server of $SEMCACHE_CONFIG is serving, else with 1 and one line."""

import os
import sys
import urllib.request
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

from semcache.errors import SettingsError
from semcache.settings import Settings, load_settings

TIMEOUT_S = 3.0
ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared with, never bound


def serving(settings: Settings) -> bool:
    """Return whether the gRPC health service says SERVING; under TLS, whether /metrics answers.

    A certificate doesn't name the loopback address, so a check over TLS would fail.
    """
    if settings.server.tls.enabled:
        host = ANY_HOST.get(settings.metrics.host, settings.metrics.host)
        url = f"http://{host}:{settings.metrics.port}/metrics"
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            return bool(response.status == 200)
    host = ANY_HOST.get(settings.server.host, settings.server.host)
    with grpc.insecure_channel(f"{host}:{settings.server.port}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        reply = check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def main() -> None:
    """Check once, and exit with the result."""
    config = os.environ.get("SEMCACHE_CONFIG")
    try:
        if not serving(load_settings(Path(config) if config else None)):
            sys.exit("not serving")
    except SettingsError as error:
        sys.exit(f"the settings are wrong: {error}")
    except (OSError, grpc.RpcError) as error:
        sys.exit(f"no answer: {error}")


if __name__ == "__main__":
    main()
