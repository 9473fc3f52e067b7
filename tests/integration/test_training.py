"""Training, in a process of its own as `semcache train` has one.

In a process that has also loaded OpenVINO or FAISS, PyTorch 2.13 may end by a segmentation fault when what a training
leaves is collected. Then the worker dies with the tests that it was given.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

TESTS = Path(__file__).with_name("training_in_its_own_process.py")


@pytest.mark.timeout(400)
def test_training_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", str(TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
