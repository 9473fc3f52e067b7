"""PyTorch's CPU index is offered to pip when it answers in time, and never against the user's own choice."""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "torch_index.py"
FUNCTIONS = runpy.run_path(str(SCRIPT))


class FakeIndex:
    """A package index on loopback that answers every request with one status, after `release` is set."""

    def __init__(self, status: int = 200) -> None:
        self.release = Event()
        self.paths: list[str] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                index.paths.append(self.path)
                index.release.wait()
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep the test's output free of the server's log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/whl/cpu"
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def fake_index() -> Iterator[Callable[..., FakeIndex]]:
    started: list[FakeIndex] = []

    def start(*, status: int = 200, hangs: bool = False) -> FakeIndex:
        index = FakeIndex(status)
        started.append(index)
        if not hangs:
            index.release.set()
        return index

    yield start
    for index in started:
        index.release.set()
        index.server.shutdown()
        index.server.server_close()


def run(index: str, *, installed: str = "", script: Path = SCRIPT, **environment: str) -> str:
    """Run the script where `installed` is the version of PyTorch that is there, and return its standard output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_") and "proxy" not in name}
    # `-S` leaves out site-packages, so that the environment's own PyTorch isn't seen.
    ran = subprocess.run(
        [sys.executable, "-S", script, index],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={**kept, "PYTHONPATH": installed, **environment},
    )
    return ran.stdout


def torch_metadata(folder: Path, version: str) -> str:
    """Write the metadata of an installed PyTorch into `folder` and return the folder's path."""
    info = folder / f"torch-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n", "utf-8")
    return str(folder)


linux = pytest.mark.skipif(sys.platform != "linux", reason="the index is offered on Linux alone")


@linux
def test_an_index_that_answers_is_offered(fake_index):
    index = fake_index()
    assert run(f"{index.url}/") == f"--extra-index-url {index.url}\n"
    assert index.paths == ["/whl/cpu/torch/"]


@linux
@pytest.mark.parametrize("status", [403, 404, 503])
def test_an_index_that_answers_with_an_error_is_not_offered(fake_index, status):
    assert run(fake_index(status=status).url) == ""


def test_a_refused_connection_is_no_answer(unused_tcp_port):
    assert run(f"http://127.0.0.1:{unused_tcp_port}/whl/cpu") == ""


def test_an_unreadable_url_is_no_answer():
    assert run("no scheme at all") == ""


def test_a_server_that_speaks_no_http_is_no_answer():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"220 not HTTP\r\n")

        Thread(target=greet, daemon=True).start()
        assert run(f"http://127.0.0.1:{server.getsockname()[1]}/whl/cpu") == ""


def test_an_index_that_hangs_costs_no_more_than_the_time_limit(fake_index):
    index = fake_index(hangs=True)
    started = time.monotonic()
    assert FUNCTIONS["answers"](f"{index.url}/torch/", timeout_s=0.05) is False
    assert time.monotonic() - started < 2.0
    assert FUNCTIONS["TIMEOUT_S"] == 2.0


@pytest.mark.parametrize("name", ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"])
def test_the_users_own_choice_of_an_index_wins(fake_index, name):
    index = fake_index()
    assert run(index.url, **{name: "1"}) == ""
    assert index.paths == []


def test_an_empty_name_of_an_index_turns_the_probe_off():
    assert run("") == ""


@pytest.mark.parametrize("build", ["", "+cpu", "+cu130"])
def test_the_pinned_version_is_not_looked_for_again(fake_index, tmp_path, build):
    index = fake_index()
    assert run(index.url, installed=torch_metadata(tmp_path, FUNCTIONS["pinned_torch"]() + build)) == ""
    assert index.paths == []


@linux
def test_another_version_than_the_pinned_is_replaced_from_the_index(fake_index, tmp_path):
    index = fake_index()
    assert run(index.url, installed=torch_metadata(tmp_path, "1.0.0+cpu")) == f"--extra-index-url {index.url}\n"


def test_pip_prefers_the_cpu_build_of_the_added_index(tmp_path):
    """The pin `torch==V` admits `V+cpu`, and pip takes it before the `V` of the configured index."""
    version = FUNCTIONS["pinned_torch"]()
    links = []
    for name, build in (("configured", ""), ("cpu", "+cpu")):
        folder = tmp_path / name / "torch"
        folder.mkdir(parents=True)
        wheel = folder / f"torch-{version}{build}-py3-none-any.whl"
        info = f"torch-{version}{build}.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}{build}\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        (folder / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>', "utf-8")
        links.append(folder.parent.as_uri())
    configured, added = links
    words = ["install", "--dry-run", "--no-deps", "--ignore-installed", "--target", str(tmp_path / "target")]
    words += ["--index-url", configured, "--extra-index-url", added, "-r", str(ROOT / "requirements" / "torch-cpu.txt")]
    ran = subprocess.run(
        [sys.executable, "-m", "pip", "--isolated", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
    )
    assert f"Would install torch-{version}+cpu" in ran.stdout, ran.stdout + ran.stderr
