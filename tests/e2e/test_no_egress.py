"""A server with the real model starts, answers and stops without ever trying to reach another machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.model
ROOT = Path(__file__).resolve().parents[2]

# An audit hook sees every connection and every look-up of a name that Python code of any library tries.
WATCHED = """
import asyncio, ipaddress, os, sys
from pathlib import Path

LOCAL = {"localhost", "", None}

def is_local(host):
    if isinstance(host, bytes):
        host = host.decode()
    try:
        return host in LOCAL or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

def watch(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.sendto" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}:
        host = args[0]
    else:
        return
    if not is_local(host):
        print("EGRESS", event, args, file=sys.stderr, flush=True)
        os._exit(3)

sys.addaudithook(watch)
if sys.argv[2] == "provoked":
    import socket
    socket.create_connection(("192.0.2.1", 9), timeout=1)

import grpc
from semcache.server.app import Application
from semcache.settings import load_settings
from semcache.testing.upstream_server import ScriptedServer
from semcache.v1 import semcache_pb2 as pb
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub

async def main():
    async with ScriptedServer() as upstream:
        target = {"name": "t", "base_url": upstream.base_url}
        application = await Application.start(load_settings(None, {
            "server": {"port": 0, "http": {"port": 0}}, "metrics": {"port": 0},
            "store": {"path": Path(sys.argv[1]) / "store"},
            "embedding": {"cache_dir": Path(sys.argv[1]) / "models"}, "upstream": {"targets": [target]},
        }))
        async with grpc.aio.insecure_channel(application.address) as channel:
            stub = SemanticCacheServiceStub(channel)
            for text in ("How do I reset my password?", "How do I reset my password", "Who was Ada Lovelace?"):
                prompt = pb.Prompt(text=pb.TextPrompt(model="gpt-4o-mini", text=text))
                answer = await stub.Complete(pb.CompleteRequest(prompt=prompt))
                print(answer.outcome.status, answer.text)
            await stub.GetStats(pb.GetStatsRequest())
        await application.stop()

asyncio.run(main())
print("ended")
"""


def start(path: Path, how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WATCHED, str(path), how],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        env={**os.environ, "HOME": str(path), "PYTHONPATH": str(ROOT)},
    )


def test_the_watch_would_see_it(tmp_path: Path) -> None:
    provoked = start(tmp_path, "provoked")
    assert provoked.returncode == 3
    assert "EGRESS socket." in provoked.stderr


def test_a_start_an_answer_and_an_end_reach_nobody(tmp_path: Path) -> None:
    done = start(tmp_path, "quiet")
    assert done.returncode == 0, done.stderr
    assert "Answer to: Who was Ada Lovelace?" in done.stdout
    assert done.stdout.splitlines()[-1] == "ended"
