"""The examples of clients: each runs as a user would copy it, and its second answer comes from the cache."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from semcache.testing.serving import Served, serving
from semcache.testing.upstream import ScriptedUpstream
from semcache.testing.upstream_server import ScriptedServer
from tests.conftest import ROOT
from tests.support.litellm_proxy import running_proxy

EXAMPLES = ROOT / "examples" / "clients"
OVER_HTTP = ("openai_sdk.py", "langchain_chat.py", "agents_sdk.py")
KEY = "sk-of-a-program"
ANSWER = "Answer to: How do I reset my password?"
TARGETS = [{"name": "house", "base_url": "http://127.0.0.1:9/v1"}]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server with a key and a scripted upstream."""
    settings = {
        "auth": {"enabled": True, "keys": [{"tenant": "acme", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}]},
        "upstream": {"targets": TARGETS, "routes": [{"alias": "fast", "target": "house"}]},
    }
    async with serving(settings, upstream=ScriptedUpstream(models={"fast": "gpt-4o-mini"})) as running:
        yield running


async def run(command: Sequence[str | Path], folder: Path, **variables: str) -> list[str]:
    """Run an example with these variables alone; return the lines that it printed."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "SEMCACHE_API_KEY": KEY, **variables}
    ran = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.parametrize("name", OVER_HTTP)
async def test_an_example_for_python_is_answered_from_the_cache(
    name: str, served: Served, clients_python: str, tmp_path: Path
) -> None:
    lines = await run([clients_python, EXAMPLES / name], tmp_path, SEMCACHE_BASE_URL=f"{served.http_url}/v1")
    assert lines == [f"MISS {ANSWER}", f"HIT {ANSWER}"]
    assert len(served.upstream.calls) == 1


async def test_langchains_own_cache_is_kept_in_semcache(served: Served, clients_python: str, tmp_path: Path) -> None:
    async with ScriptedServer() as provider:
        lines = await run(
            [clients_python, EXAMPLES / "langchain_cache.py"],
            tmp_path,
            SEMCACHE_ADDRESS=served.address,
            OPENAI_API_KEY="sk-of-the-provider",
            OPENAI_BASE_URL=provider.base_url,
        )
        assert lines == [ANSWER, "from the cache: exact_hit", ANSWER]
        assert len(provider.requests) == 1


async def test_the_example_for_javascript_is_answered_from_the_cache(
    served: Served, node_modules: Path, require_program: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "node_modules").symlink_to(node_modules)
    shutil.copyfile(EXAMPLES / "javascript" / "ask.mjs", tmp_path / "ask.mjs")
    lines = await run([require_program("node"), "ask.mjs"], tmp_path, SEMCACHE_BASE_URL=f"{served.http_url}/v1")
    assert lines == [f"MISS {ANSWER}", f"HIT {ANSWER}"]


async def ask_with_curl(base_url: str, folder: Path) -> list[str]:
    """Run the shell example; return what each answer says of the cache, in small letters, and check the answers."""
    lines = await run(["sh", EXAMPLES / "curl.sh"], folder, SEMCACHE_BASE_URL=base_url)
    assert sum(ANSWER in line for line in lines) == 2
    return [line.strip().lower() for line in lines if ANSWER not in line]


async def test_the_example_for_the_shell_is_answered_from_the_cache(
    served: Served, require_program: Callable[[str], str], tmp_path: Path
) -> None:
    require_program("curl")
    assert await ask_with_curl(f"{served.http_url}/v1", tmp_path) == ["x-cache-status: miss", "x-cache-status: hit"]


async def test_litellm_in_front_of_semcache_is_answered_from_the_cache(
    served: Served, require_program: Callable[[str], str], tmp_path: Path
) -> None:
    require_program("curl")
    variables = {"SEMCACHE_BASE_URL": f"{served.http_url}/v1", "SEMCACHE_API_KEY": KEY}
    with ExitStack() as stack:
        proxy = running_proxy(EXAMPLES / "litellm.yaml", tmp_path, variables)
        url = await asyncio.to_thread(stack.enter_context, proxy)
        told = await ask_with_curl(url, tmp_path)
    assert told == ["llm_provider-x-cache-status: miss", "llm_provider-x-cache-status: hit"]
    assert len(served.upstream.calls) == 1


def test_each_example_over_http_has_the_documented_default() -> None:
    for name in (*OVER_HTTP, "curl.sh", "javascript/ask.mjs"):
        text = (EXAMPLES / name).read_text("utf-8")
        assert ("http://127.0.0.1:8080/v1" in text, "SEMCACHE_BASE_URL" in text) == (True, True), name


def test_the_page_lists_every_example() -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    files = [path for path in EXAMPLES.rglob("*") if path.suffix in {".py", ".sh", ".mjs", ".yaml"}]
    shown = [path for path in files if "node_modules" not in path.parts]
    assert [path.name for path in shown if f"({path.relative_to(EXAMPLES)})" not in page] == []
    assert len(shown) == 7
