"""Runs the cost commands beside a running server: they read what it has written, and it continues to serve."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from semcache.client import Client
from semcache.testing.serving import serving

ROOT = Path(__file__).resolve().parents[2]


def cost(*arguments: str) -> dict[str, Any]:
    # In another process, because a process may open an LMDB store only once.
    ran = subprocess.run(
        [sys.executable, "-m", "semcache", "cost", *arguments, "--json"], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    document: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return document


async def test_what_the_server_told_is_what_the_commands_tell(tmp_path: Path) -> None:
    async with serving(path=tmp_path) as served, Client(served.address) as client:
        for prompt in ("How do I reset my password?", "How do I reset my password?", "Where are my invoices?"):
            await client.complete(model="gpt-4o-mini", prompt=prompt, task_type="support")
        wanted = (await client.savings()).total
        report = await asyncio.to_thread(cost, "report", "--store", str(tmp_path), "--by", "task_type")
        while report["total"]["requests"] < 3:  # The hit reaches the disk with the next commit group.
            report = await asyncio.to_thread(cost, "report", "--store", str(tmp_path), "--by", "task_type")
        output = tmp_path / "log.jsonl"
        export = await asyncio.to_thread(
            cost, "export", "--store", str(tmp_path), "--format", "jsonl", "--output", str(output)
        )
        again = await client.complete(model="gpt-4o-mini", prompt="Where are my invoices?", task_type="support")

    total = report["total"]
    assert (total["spent_nanousd"], total["saved_nanousd"]) == (wanted.spent_nanousd, wanted.saved_nanousd)
    assert total["requests_by_status"]["miss"] == 2
    assert total["requests_by_status"]["exact_hit"] == 1
    assert [row["task_type"] for row in report["rows"]] == ["support"]
    lines = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert export["rows"] == len(lines) == 3
    assert sum(line["spent_nanousd"] for line in lines) == total["spent_nanousd"]
    assert again.hit
