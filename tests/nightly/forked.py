"""Servers in processes of their own that start within a tenth of a second: they are forked from one that has imported
everything, and nothing else. Each is the real server over real sockets and a real store; the model and the upstream
are fakes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import uvloop

from semcache.model import UpstreamCall, Usage
from semcache.observe.logs import configure_logging
from semcache.server.app import Application
from semcache.server.process import serve
from semcache.settings import load_settings
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.upstream import Scripted, ScriptedUpstream, prompt_of

START_S = 60.0
"""A start takes 0.1 s; one that takes this long hangs."""
STOP_S = 30.0
_GIB = 1 << 30

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.nightly.warm"])

Sections = Mapping[str, Mapping[str, Any]]
"""Settings by section."""


class EndedError(Exception):
    """A forked process ended before it sent what was waited for.

    Attributes:
        code: its exit code; the negative number of a signal.
        log: what it wrote to standard error.
    """

    def __init__(self, code: int | None, log: str) -> None:
        super().__init__(f"the process ended with {code}: {log[-2000:]}")
        self.code = code
        self.log = log


class Forked:
    """A function that runs in a forked process; what it sends into its connection is read by `receive`.

    Args:
        function: it takes the connection and the arguments; it must be importable by name.
        log: the file that standard error is appended to.
    """

    def __init__(self, function: Callable[..., None], *arguments: object, log: Path) -> None:
        self.log = log
        self._connection, theirs = _context.Pipe()
        self._process = _context.Process(target=_run, args=(function, log, theirs, arguments), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def receive(self, within_s: float = START_S) -> Any:
        """Return the next value that the function sends.

        Raises:
            EndedError: the process ended, or was ended here because nothing came within the time.
        """
        if not self._connection.poll(within_s):
            self.signal(signal.SIGABRT)  # Faulthandler then writes where every thread stood.
        try:
            return self._connection.recv()
        except EOFError:
            raise EndedError(self.end(), self.log.read_text("utf-8", "replace")) from None

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self._process.is_alive():
            os.kill(self.pid, number)

    def end(self, within_s: float = STOP_S) -> int | None:
        """Wait until the process has ended, kill it when that takes too long, and return its exit code."""
        self._process.join(within_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        return self._process.exitcode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()
        self._process.close()


def _run(function: Callable[..., None], log: Path, connection: Connection, arguments: tuple[object, ...]) -> None:
    import faulthandler

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, sys.stderr.fileno())
    faulthandler.enable(sys.stderr)
    function(connection, *arguments)


class ForkedServer(Forked):
    """A server over a folder. `address` waits until it is ready.

    Args:
        folder: the store's.
        sections: settings by section, over those of a small server without metrics.
        answer_chars: characters that an answer of the scripted upstream is filled up to.
        slow_share: share of the upstream's calls that take up to a fifth of a second.
        seed: of what is slow.
    """

    def __init__(
        self,
        folder: Path,
        sections: Sections | None = None,
        *,
        log: Path,
        answer_chars: int = 0,
        slow_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        values: dict[str, dict[str, Any]] = {
            "server": {"port": 0, "http": {"port": 0}, "grace_s": 5.0, "batch_scheduling": False, "reflection": False},
            "index": {"flat_products": "float32"},  # The trial of bfloat16 takes half a second.
            "metrics": {"enabled": False},
            "store": {"path": str(folder), "map_size_bytes": _GIB, "sweep_interval_s": 0.5},
            "log": {"level": "error", "format": "json"},
        }
        for name, fields in (sections or {}).items():
            values[name] = {**values.get(name, {}), **fields}
        super().__init__(_serve, values, answer_chars, slow_share, seed, log=log)

    def address(self) -> str:
        """Return where the server answers, once it does.

        Raises:
            EndedError: it ended before.
        """
        return str(self.receive())


def _serve(connection: Connection, values: Sections, answer_chars: int, slow_share: float, seed: int) -> None:
    settings = load_settings(None, values)
    configure_logging(settings.log)
    numbers = itertools.count()
    chance = random.Random(seed)

    def answer(call: UpstreamCall) -> Scripted:
        # No two answers are equal, so that an old one is known by its text.
        text = json.dumps([prompt_of(call.body), f"upstream {os.getpid()} {next(numbers)}"])
        usage = Usage(chance.randrange(1, 5_000), 0, chance.randrange(1, 2_000))
        gate = None
        if chance.random() < slow_share:
            gate = asyncio.Event()
            asyncio.get_running_loop().call_later(chance.random() * 0.2, gate.set)
        return Scripted(text + " " * max(0, answer_chars - len(text)), usage=usage, gate=gate)

    def ready(application: Application) -> None:
        connection.send(application.address)

    uvloop.run(serve(settings, on_ready=ready, embedder=HashingEmbedder(), upstream=ScriptedUpstream(answer)))
