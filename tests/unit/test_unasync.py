"""The generator of the synchronous client: what it writes, and that the committed file is what it writes."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "unasync.py"


@pytest.fixture(scope="module")
def unasync():
    return runpy.run_path(str(SCRIPT))


def test_the_committed_synchronous_client_is_what_the_script_writes():
    result = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, cwd=ROOT)
    assert (result.returncode, result.stderr) == (0, "")
    assert "synchronous.py" in result.stdout


def test_the_blocking_counterpart_of_a_module(unasync):
    source = '''\
"""A module.

Of two lines.
"""

from collections.abc import AsyncIterator
from datetime import datetime
import grpc


class Client:
    """Leave the `async with` block."""

    async def __aenter__(self) -> "Client":
        awaited = "await stays in a text"
        async with grpc.aio.insecure_channel(awaited) as channel:
            return await channel.get(grpc.StatusCode.OK)

    async def names(self) -> AsyncIterator[str]:
        async for name in self.client:  # a comment
            yield name
'''
    written = unasync["formatted"](unasync["synchronous"](source))
    header, _, body = written.partition("\n\nfrom")
    assert header.strip() == unasync["HEADER"]
    assert (
        f"from{body}"
        == '''\
from collections.abc import Iterator
from datetime import datetime

import grpc


class SyncClient:
    """Leave the `with` block."""

    def __enter__(self) -> "Client":
        awaited = "await stays in a text"
        with grpc.insecure_channel(awaited) as channel:
            return channel.get(grpc.StatusCode.OK)

    def names(self) -> Iterator[str]:
        for name in self.client:  # a comment
            yield name
'''
    )


def test_both_clients_have_one_set_of_methods():
    from semcache.client import AnswerStream, Client, SyncAnswerStream, SyncClient

    def public(kind):
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Client) == public(SyncClient)
    assert public(AnswerStream) == public(SyncAnswerStream)


def test_a_source_without_a_docstring_of_its_own_is_refused(unasync):
    with pytest.raises(ValueError, match="begin with a docstring"):
        unasync["synchronous"]("import grpc\n")
