"""The container's health check tells a serving server from one that drains, is gone, or can't be configured."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "container_health.py"
STATES = health_pb2.HealthCheckResponse


@pytest.fixture
def server() -> Iterator[tuple[health.HealthServicer, int]]:
    servicer = health.HealthServicer()
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, port
    server.stop(None).wait()


def check(**environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEMCACHE_")}
    return subprocess.run(
        [sys.executable, SCRIPT], capture_output=True, text=True, env={**kept, "PYTHONPATH": str(ROOT), **environment}
    )


def test_serving_is_healthy(server):
    servicer, port = server
    servicer.set("", STATES.SERVING)
    result = check(SEMCACHE_SERVER__PORT=str(port))
    assert (result.returncode, result.stderr) == (0, "")


def test_draining_is_not(server):
    servicer, port = server
    servicer.set("", STATES.NOT_SERVING)
    result = check(SEMCACHE_SERVER__PORT=str(port))
    assert (result.returncode, result.stderr) == (1, "not serving\n")


def test_no_server_is_not(unused_tcp_port):
    result = check(SEMCACHE_SERVER__PORT=str(unused_tcp_port))
    assert result.returncode == 1
    assert result.stderr.startswith("no answer: ")


def test_wrong_settings_are_not(tmp_path):
    config = tmp_path / "semcache.toml"
    config.write_text("[server]\nprot = 1\n", "utf-8")
    result = check(SEMCACHE_CONFIG=str(config))
    assert result.returncode == 1
    assert result.stderr.startswith("the settings are wrong: ")
