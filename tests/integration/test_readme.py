"""What the README and the docs show works: Python runs against a server, whole TOML files load, commands exist."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from semcache.settings import load_settings
from semcache.testing.serving import serving
from semcache.testing.upstream import ScriptedUpstream

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
QUALITY = (ROOT / "docs" / "quality.md").read_text("utf-8")
HTTP = (ROOT / "docs" / "http.md").read_text("utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


# Pages whose TOML stands by itself; those of the other pages are parts of a file.
TOML = [block for page in (README, OPERATIONS, QUALITY) for block in blocks("toml", page)]


PYTHON = [block for page in (README, HTTP) for block in blocks("python", page)]
MODELS = {"fast": "gpt-4o-mini", "text-embedding-3-small": "text-embedding-3-small"}
CURL = [line for block in blocks("console", HTTP) for line in block.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("number", range(len(PYTHON)))
async def test_the_python_runs(number: int) -> None:
    async with serving(upstream=ScriptedUpstream(models=MODELS)) as served:
        code = PYTHON[number].replace("127.0.0.1:50051", served.address)
        code = code.replace("http://127.0.0.1:8080", served.http_url)
        ran = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert ("2 40" if "embeddings" in code else "Answer to: ") in ran.stdout


@pytest.mark.parametrize("number", range(len(TOML)))
def test_the_toml_loads(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.chdir(tmp_path)
    for name in ("server.crt", "server.key"):
        (tmp_path / name).write_text("", "utf-8")
    path = tmp_path / "semcache.toml"
    path.write_text(TOML[number], "utf-8")
    assert load_settings(path) != load_settings()


async def test_the_generic_tool_works_through_reflection(require_program: Callable[[str], str]) -> None:
    (command,) = [block for block in blocks("console") if "buf curl" in block]
    words = shlex.split(command.removeprefix("$ ").replace("\\\n", " "))
    async with serving(upstream=ScriptedUpstream(models={"fast": "gpt-4o-mini"})) as served:
        words = [require_program("buf"), *(word.replace("127.0.0.1:50051", served.address) for word in words[1:])]
        ran = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout)["outcome"]["status"] == "STATUS_MISS"


@pytest.mark.parametrize("number", range(len(CURL)))
async def test_curl_is_answered(number: int, require_program: Callable[[str], str]) -> None:
    words = shlex.split(CURL[number].removeprefix("$ "))
    async with serving(upstream=ScriptedUpstream(models={"fast": "gpt-4o-mini"})) as served:
        words = [require_program("curl"), "--fail"] + [
            word.replace("http://127.0.0.1:8080", served.http_url) for word in words[1:]
        ]
        ran = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr


def test_the_commands_exist() -> None:
    named = set(re.findall(r"semcache (serve|demo|eval|replay|stats|explain|check)\b", README))
    told = subprocess.run(
        [sys.executable, "-m", "semcache", "--help"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert named == {command for command in named if re.search(rf"\b{command}\b", told)}
    assert len(named) >= 6
