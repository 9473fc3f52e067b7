"""Run a semcache server in a process of its own, with what a benchmark needs: entries, requests, its log."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import grpc
import numpy as np

from benchmarks.worker import Worker, say
from semcache.v1 import semcache_pb2 as pb
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MODEL = "gpt-4o-mini"
STORE_BATCH = 128
_WORDS = (
    "first",
    "check",
    "then",
    "carefully",
    "remove",
    "dry",
    "surface",
    "water",
    "slowly",
    "again",
    "until",
    "clean",
)


def answer_text(number: int, chars: int) -> str:
    """Return the answer of entry `number`: it begins with `answer_mark`, the rest is filler."""
    chance = random.Random(number)
    words = [answer_mark(number)]
    while sum(map(len, words)) + len(words) < chars:
        words.append(chance.choice(_WORDS))
    return " ".join(words)


def answer_mark(number: int) -> str:
    return f"Answer {number}:"


def completion(number: int, chars: int) -> bytes:
    """Return a chat completion as an upstream would send it."""
    message = {"role": "assistant", "content": answer_text(number, chars)}
    body = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_780_000_000,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 14, "completion_tokens": chars // 4, "total_tokens": 14 + chars // 4},
    }
    return json.dumps(body, separators=(",", ":")).encode()


def prompt(text: str) -> pb.Prompt:
    """Return the request as raw OpenAI JSON, the form that clients of other languages send."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "temperature": 0.2, "max_tokens": 400}
    return pb.Prompt(openai_json=json.dumps(body).encode())


def complete_request(text: str) -> bytes:
    return pb.CompleteRequest(prompt=prompt(text)).SerializeToString()


def batch_request(texts: Iterable[str]) -> bytes:
    requests = [pb.LookupRequest(prompt=prompt(text)) for text in texts]
    return pb.LookupBatchRequest(requests=requests).SerializeToString()


class ServerProcess(Worker):
    """`semcache serve` with a configuration of its own: free ports, and a store in `folder`, empty if it is new."""

    def __init__(self, folder: Path, *, cores: Iterable[int] | None = None, **sections: dict[str, object]) -> None:
        settings = {
            "server": {"port": 0, "http": {"port": 0}},
            "metrics": {"port": 0},
            "store": {"path": str(folder / "store")},
            "log": {"format": "json", "level": "info"},
        }
        for name, fields in sections.items():
            settings[name] = {**settings.get(name, {}), **fields}
        config = folder / "settings.json"
        config.write_text(json.dumps(settings))
        self.log = folder / "server.log"
        super().__init__("benchmarks.server_process", "--settings", str(config), log=self.log, cores=cores)
        self.address: str = self.ready["address"]
        self._channel = grpc.insecure_channel(self.address, [("grpc.max_receive_message_length", -1)])
        self.stub = SemanticCacheServiceStub(self._channel)

    def fill(
        self, texts: Sequence[str], vectors: NDArray[np.float32] | None, answer_chars: int, batch: int = STORE_BATCH
    ) -> None:
        """Store an answer for each text; with `vectors` (n, d) the server need not embed.

        Raises:
            RuntimeError: an item was not stored.
        """
        fingerprint = self.stub.GetStats(pb.GetStatsRequest()).embedder.fingerprint
        for start in range(0, len(texts), batch):
            request = pb.StoreBatchRequest()
            for number in range(start, min(start + batch, len(texts))):
                item = request.requests.add(prompt=prompt(texts[number]), openai_json=completion(number, answer_chars))
                if vectors is not None:
                    item.embedding.values.extend(vectors[number].tolist())
                    item.embedding.embedder_fingerprint = fingerprint
            for result in self.stub.StoreBatch(request, timeout=120).results:
                if not result.response.stored:
                    raise RuntimeError(f"an entry was not stored: {result}")

    def events(self, name: str) -> list[dict[str, object]]:
        """Return the server's log lines with that event."""
        lines = [line for line in self.log.read_text("utf-8").splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line.get("event") == name]

    def close(self) -> None:
        if hasattr(self, "_channel"):
            self._channel.close()
        super().close()

    def __enter__(self) -> Self:
        return self


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder on the project's disk, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="semcache-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, required=True)
    values = json.loads(parser.parse_args().settings.read_text())

    import uvloop

    from semcache.observe.logs import configure_logging
    from semcache.server.app import Application
    from semcache.server.process import serve
    from semcache.settings import load_settings

    settings = load_settings(None, values)
    configure_logging(settings.log)
    imported = time.monotonic()

    def ready(application: Application) -> None:
        say(
            {
                "address": application.address,
                "http_address": application.http_address,
                "import_s": imported - started,
                "start_s": time.monotonic() - imported,
            }
        )

    uvloop.run(serve(settings, on_ready=ready))


if __name__ == "__main__":
    main()
