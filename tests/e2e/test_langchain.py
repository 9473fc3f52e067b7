"""LangChain with its cache in semcache: the package langchain-semcache, run by LangChain itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from semcache.testing.serving import serving
from tests.conftest import ROOT

FOLDER = Path(__file__).parent
PACKAGE = ROOT / "integrations" / "langchain-semcache"
KEY = "sk-of-a-program"
SETTINGS = {
    "auth": {"enabled": True, "keys": [{"tenant": "acme", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}]},
    "decision": {"threshold": 0.6},
    "cacheability": {"store_tool_calls": True},
}


@pytest.fixture(scope="module")
def told(clients_python: str) -> Mapping[str, Any]:
    """What the program `langchain_client.py` tells of each scenario, and what the package logged meanwhile."""
    return asyncio.run(run(clients_python))


async def run(python: str) -> dict[str, Any]:
    async with serving(SETTINGS) as served:
        with socket.socket() as closed:  # Bound and not listening: whoever connects is refused.
            closed.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{closed.getsockname()[1]}"
            command = [python, "-W", "error", str(FOLDER / "langchain_client.py"), served.address, KEY, address]
            ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=100)
        assert ran.returncode == 0, ran.stderr
        # What langchain and semcache print at their end would be an error of a thread or of a channel left open.
        assert ran.stderr == ""
        return json.loads(ran.stdout)


def test_answers_are_shared_by_meaning_within_a_partition(told: Mapping[str, Any]) -> None:
    sharing = told["hits and misses"]["told"]
    assert sharing == {
        "first": "answer 1",
        "exact": "answer 1",
        "near": "answer 1",
        "another model": "answer 1",  # the other model's own first answer
        "another stop": "answer 2",
        "a system prompt": "answer 3",
        "the system prompt again": "answer 3",
        "a name": "answer 4",
        "an earlier turn": "answer 5",
        "that turn again": "answer 5",
        "an image": "answer 6",
        "that image again": "answer 6",
        "a near text with it": "answer 7",
        "parts of text": "answer 8",
        "hits": [
            ["exact_hit", True],
            ["semantic_hit", True],
            ["semantic_hit", True],
            ["semantic_hit", True],
            ["exact_hit", True],
        ],
        "calls": [8, 1],
    }


def test_a_conversation_with_tools_is_served_to_an_equal_one_alone(told: Mapping[str, Any]) -> None:
    tools = told["tools"]["told"]
    assert tools == {"told": ["answer 1", "answer 1", "answer 2"], "calls": 1, "equal": True}


def test_generations_are_restored_as_they_were_or_not_stored(told: Mapping[str, Any]) -> None:
    assert told["lossless"]["told"] == {
        "ids": [True, False],  # LangChain's own id names the call.
        "a text": ["Generation"],
        "several": ["ChatGeneration"] * 3,
        "a rich message": ["ChatGeneration"],
        "other scripts": ["Generation"],
        "cut off": "nothing",
        "two ends": "nothing",
        "an object": "nothing",
        "a set": "nothing",
        "numbers as names": "nothing",
        "nothing": "nothing",
        "parsed": {"word": "cache"},
    }
    warnings = [line for line in told["lossless"]["logged"] if line.startswith("WARNING")]
    assert len(warnings) == 3
    assert all("an answer isn't cached" in line for line in warnings)


def test_an_entry_that_the_package_did_not_write_is_a_miss(told: Mapping[str, Any]) -> None:
    assert len(told["foreign"]["told"]) == 5
    assert all(stored and found is None for _, stored, found in told["foreign"]["told"])
    assert sum("can't be used" in line for line in told["foreign"]["logged"]) == 5


def test_prompts_of_completion_models_are_compared_as_texts(told: Mapping[str, Any]) -> None:
    assert told["prompts"]["told"] == {
        "texts": ["completion 1"] * 3,
        "likeness": "completion 2",
        "a batch": ["completion 3", "completion 4", "completion 5"],  # LangChain looks up all of a batch first.
        "time": ["completion 6", "completion 7"],
        "unknown": [True, False],
    }


def test_a_second_turn_is_found_after_a_miss_and_after_a_hit(told: Mapping[str, Any]) -> None:
    assert told["follow-ups"]["told"] == [["answer 2", "answer 2"], 2]


def test_one_object_serves_threads_and_event_loops(told: Mapping[str, Any]) -> None:
    first = [["answer 1"] * 3, True]
    again = [["answer 1"] * 3, True]
    assert told["loops"]["told"] == [[first, again, again], [None, "b"], "answer 1"]


def test_clearing_removes_its_own_answers_and_those_in_the_making(told: Mapping[str, Any]) -> None:
    clearing = told["clearing"]["told"]
    assert clearing.pop("repr").startswith("SemcacheCache('127.0.0.1:")
    assert clearing == {
        "by tag": [True, False],
        "by age": True,
        "misspelt": "TypeError",
        "gone": True,
        "late": True,
        "other": True,
    }


def test_equal_requests_wait_for_the_holder_of_a_lease(told: Mapping[str, Any]) -> None:
    texts, calls, late, logged = told["leases"]["told"]
    assert (texts, calls, late) == (["answer 1"], 1, None)
    assert logged == ["DEBUG semcache didn't store an answer: LEASE_EXPIRED"]


def test_a_server_that_fails_is_a_miss_with_one_warning(told: Mapping[str, Any]) -> None:
    outages = told["outages"]["told"]
    assert outages["texts"] == ["answer 1", "answer 2", "answer 3", "answer 4", "answer 1", "answer 2"]
    (unreachable,) = outages["unreachable"]
    (unauthenticated,) = outages["unauthenticated"]
    assert unreachable.startswith(
        "WARNING semcache failed, so models are called without it: No semcache server answers"
    )
    assert unauthenticated.endswith("[UNAUTHENTICATED]")
    raised = ("raised", "raised by update", "cleared")
    assert [outages[name] for name in raised] == ["UNREACHABLE"] * 3
    assert outages["pausing"] == [None, None, None]


def test_neither_keys_nor_prompts_are_told(told: Mapping[str, Any]) -> None:
    shown = json.dumps([told["outages"], [scenario["logged"] for scenario in told.values()]])
    assert [word for word in ("sk-", "private words", "reset my password") if word in shown] == []


def test_the_page_of_the_package_shows_what_runs(clients_python: str) -> None:
    page = (PACKAGE / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    shown = "\n".join(blocks) + "\nfrom langchain_core.globals import get_llm_cache\nprint(get_llm_cache())"
    ran = subprocess.run([clients_python, "-W", "error", "-c", shown], capture_output=True, text=True, timeout=60)
    assert ran.stdout.startswith("SemcacheCache('127.0.0.1:50051'"), ran.stderr
    documented = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))))
    code = "import inspect, langchain_semcache as it; print(*inspect.signature(it.SemcacheCache).parameters, "
    code += "*it.ConnectionArguments.__annotations__)"
    ran = subprocess.run([clients_python, "-c", code], capture_output=True, text=True, timeout=60)
    assert documented == set(ran.stdout.split()) - {"connection"}


def test_the_package_fulfils_langchains_types(clients_python: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--python-executable", clients_python, "--cache-dir", str(tmp_path)]
    # semcache is installed there by an import hook, which mypy can't follow.
    environment = {**os.environ, "MYPYPATH": str(PACKAGE / "src"), "PYTHONPATH": str(PACKAGE.parents[1])}
    ran = subprocess.run(
        [*command, "--config-file", "pyproject.toml", "src"],
        cwd=PACKAGE,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
