"""A real LiteLLM proxy as a process, from the environment that `make litellm` builds."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing

START_S = 90.0


@contextmanager
def running_proxy(config: Path, folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a proxy for as long as the block runs, and give its base URL.

    Args:
        config: its configuration.
        folder: where it runs and writes its log.
        variables: of its environment, which has nothing else of this one's but PATH.
    """
    found = sorted((ROOT / "tests" / "e2e").glob(".cache/litellm-*/bin/litellm"))
    if not found:
        missing("LiteLLM's environment isn't there: `make litellm` builds it")
    shutil.copyfile(config, folder / "proxy.yaml")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # It would fetch its prices from the net.
        **(variables or {}),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [found[-1], "--config", "proxy.yaml", "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _until_ready(process, f"{url}/health/liveliness", folder / "log")
            yield f"{url}/v1"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.25)  # It has no other way to say that it is there.
    pytest.fail(f"the proxy didn't start:\n{log.read_text('utf-8', 'replace')[-2000:]}")
