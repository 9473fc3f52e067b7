"""Print the pip option that adds PyTorch's CPU index, where that index answers a probe within two seconds.

    pip install $(python scripts/torch_index.py https://download.pytorch.org/whl/cpu) -r requirements/torch-cpu.txt

On Linux PyPI's PyTorch is the CUDA build, several gigabytes; this index has the same version for CPUs alone. Standard
output is empty, and pip keeps to its own configuration, in each of these cases:

- the system isn't Linux, or the first argument is empty;
- the pinned PyTorch is installed already;
- the user has chosen indexes: PIP_INDEX_URL, PIP_EXTRA_INDEX_URL or PIP_NO_INDEX is set;
- the index doesn't answer in time: no route, no name, a refusal, an HTTP error.

It runs in an environment that has pip and nothing else.
"""

from __future__ import annotations

import http.client
import os
import queue
import ssl
import sys
import threading
import urllib.request
from importlib import metadata
from pathlib import Path

PIN = Path(__file__).resolve().parent.parent / "requirements" / "torch-cpu.txt"
# Longer than a round trip to another continent with TLS; short beside the minutes of the installation that follows.
TIMEOUT_S = 2.0
CHOSEN_BY_USER = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX")


def main() -> None:
    """Probe the index that the first argument names, and print the option for pip or nothing."""
    index = sys.argv[1].rstrip("/") if len(sys.argv) > 1 else ""
    if not index or sys.platform != "linux" or any(os.environ.get(name) for name in CHOSEN_BY_USER):
        return
    if installed_torch() == pinned_torch():
        return
    if answers(f"{index}/torch/", timeout_s=TIMEOUT_S):
        sys.stderr.write(f"PyTorch's CPU build comes from {index}\n")
        sys.stdout.write(f"--extra-index-url {index}\n")
    else:
        sys.stderr.write(f"{index} doesn't answer within {TIMEOUT_S:g} s: PyTorch comes from pip's configured index\n")


def answers(url: str, *, timeout_s: float) -> bool:
    """Return whether a HEAD request for `url` ends with HTTP status 200 within `timeout_s` seconds in all.

    The request runs in a thread of its own: a socket's timeout bounds neither the look-up of a name nor a slow server.
    """
    statuses: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    threading.Thread(target=lambda: statuses.put(_status(url, timeout_s)), daemon=True).start()
    try:
        return statuses.get(timeout=timeout_s) == 200
    except queue.Empty:
        return False


def _status(url: str, timeout_s: float) -> int | None:
    """Return the HTTP status of a HEAD request, None where there was no answer or an error."""
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the URL is the Makefile's or the user's own
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or None)
    try:
        with urllib.request.urlopen(request, timeout=timeout_s, context=context) as response:  # noqa: S310
            return int(response.status)
    except (OSError, http.client.HTTPException, ValueError):  # ValueError: the URL can't be read
        return None


def installed_torch() -> str | None:
    """Return the version of the installed PyTorch without its build (`2.13.0` of `2.13.0+cpu`), None without one."""
    try:
        return metadata.version("torch").partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


def pinned_torch() -> str:
    """Return the version that requirements/torch-cpu.txt pins."""
    (pin,) = (line for line in PIN.read_text("utf-8").splitlines() if line.startswith("torch=="))
    return pin.removeprefix("torch==").strip()


if __name__ == "__main__":
    main()
