"""Run a process that answers one JSON line with another, and read its processor time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(__file__).resolve().parent / ".cache"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process's memory: `anonymous` is its own; `resident` includes file pages that the kernel may drop."""

    resident: int
    anonymous: int
    proportional: int


class Worker:
    """A process of `python -m module`; it is ready when its first line has come.

    Raises:
        RuntimeError: it ended or wrote something other than JSON; the message has the end of its log.
    """

    def __init__(
        self, module: str, *arguments: str, log: Path, cores: Iterable[int] | None = None, python: str = sys.executable
    ) -> None:
        self._module = module
        self._log = log
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        started = time.monotonic()
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [python, "-m", module, *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
            )
        if cores is not None:
            # Set before the interpreter starts its first thread, since threads inherit it.
            os.sched_setaffinity(self._process.pid, set(cores))
        self.ready: dict[str, Any] = self._read()
        self.ready_s = time.monotonic() - started

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Send one line and wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        return self._read()

    def cpu_s(self) -> float:
        """Return the processor seconds of all its threads so far, from Linux's clock of another process."""
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def memory(self) -> Memory:
        fields: dict[str, int] = {}
        for name in ("status", "smaps_rollup"):
            for line in Path(f"/proc/{self._process.pid}/{name}").read_text().splitlines():
                key, _, value = line.partition(":")
                if value.strip().endswith("kB"):
                    fields[key] = int(value.split()[0]) * 1024
        return Memory(resident=fields["VmRSS"], anonymous=fields["RssAnon"], proportional=fields["Pss"])

    def kill(self) -> None:
        """End it at once, by SIGKILL."""
        self._process.kill()

    def close(self) -> None:
        """End it in order, within 20 s."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError as error:
            self.close()
            tail = "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-15:])
            raise RuntimeError(f"{self._module} said {line!r} and ended.\n{tail}") from error
        return answer


def say(answer: dict[str, Any]) -> None:
    """Write one line of a reply, from within a worker."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def questions() -> Iterable[dict[str, Any]]:
    """Yield the questions, from within a worker, until the other process has gone."""
    for line in sys.stdin:
        yield json.loads(line)


async def reply(run: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
    """Answer each question with what `run` makes of it, from within a worker."""
    say({"ready": True})
    for job in questions():  # blocking is right: between two passes there is nothing else to do
        say(await run(job))


def cores() -> Sequence[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))
