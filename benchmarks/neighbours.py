"""Measure how long another caller's exact hit takes beside calls that are costly to the server, on one server.

`python -m benchmarks.neighbours`. A probe asks for one exact hit after the other while callers repeat a costly call.
`--only NAME` measures one kind of call.
"""

from __future__ import annotations

import argparse
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np

from benchmarks.measurements import Measurement, report
from benchmarks.server_process import MODEL, ServerProcess, answer_mark, complete_request, completion, prompt, scratch
from semcache.v1 import semcache_pb2 as pb

ENTRIES = 60_000
DIMENSION = 384
WORDS = 240
ANSWER_CHARS = 400
CALLERS = 4
SECONDS = 5.0
PAUSE_S = 0.004
"""Between two calls of the probe: a caller that asks now and then, not one that competes for the processor."""
MAX_P99_MS = 20.0
SERVICE = "/semcache.v1.SemanticCacheService/"
LONG_MESSAGE = 3_900_000
PROBE = "How do I reset my password?"

Call = tuple[str, list[bytes]]
"""A method and the messages that callers send to it in turn."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    measurements, details = [], {}
    # The vectors of the filling are random, so none of them may be checked.
    with scratch() as folder, ServerProcess(folder, embedding={"given_sample_ratio": 0}) as server:
        _fill(server, arguments.entries)
        fingerprint = server.stub.GetStats(pb.GetStatsRequest()).embedder.fingerprint
        for name, call in _calls(fingerprint).items():
            if arguments.only in name:
                delays = _beside(server.address, call, arguments.seconds)
                print(name, delays, flush=True)
                details[name] = delays
                measurements.append(Measurement(f"{name}: p99", "ms", (delays["p99_ms"],), at_most=MAX_P99_MS))
    report(
        "neighbours",
        measurements,
        notes=[
            f"{arguments.entries:,} entries, {CALLERS} callers of the costly call, a probe for {arguments.seconds:g} s."
        ],
        details=details,
    )


def _fill(server: ServerProcess, entries: int) -> None:
    chance = np.random.default_rng(1)
    texts = [_text(number) for number in range(entries)]
    step = 4_096
    for start in range(0, entries, step):
        part = texts[start : start + step]
        vectors = chance.standard_normal((len(part), DIMENSION), dtype=np.float32)
        server.fill(part, vectors, ANSWER_CHARS)
    server.fill([PROBE], None, ANSWER_CHARS)


def _text(number: int) -> str:
    """Return a text of words that no other text has: its first words are few, so that the store stays small."""
    chance = random.Random(number)
    count = WORDS if number % 50 == 0 else 12
    return " ".join("".join(chance.choices("bcdfgklmnprtvz", k=5)) for _ in range(count))


def _calls(fingerprint: str) -> Mapping[str, Call]:
    json_bodies = {
        "JSON, 4 MB of lists": _around(b"[],"),
        "JSON, 4 MB of objects": _around(b'{"a":1},'),
        "JSON, 4 MB of keys": b'{"model":"m","messages":[{"role":"user","content":"a"}],'
        + b",".join(b'"k%d":1' % number for number in range(340_000))
        + b"}",
        "JSON, 4 MB of messages": b'{"model":"m","messages":['
        + b",".join([b'{"role":"user","content":"a"}'] * (LONG_MESSAGE // 31))
        + b"]}",
        "JSON, as many values as are allowed": _around(b"[],", 60_000 - 60),
        "a prompt of 900,000 characters": _body(" ".join(_text(number) for number in range(900_000 // 62))[:900_000]),
        "a prompt of 8,000 ligatures": _body("\ufdfa" * 8_000),
        "a prompt of 8,000 fractions": _body("½" * 8_000),
        "a prompt of 8,000 digits and dashes": _body("1-1-" * 2_000),
    }
    lookups = {name: ("Lookup", [_lookup(body)]) for name, body in json_bodies.items()}
    chat = pb.LookupRequest()
    chat.prompt.chat.model = MODEL
    for _ in range(400_000):
        chat.prompt.chat.messages.add(role="user")
    vectors = pb.StoreRequest(prompt=prompt("A text with far too many numbers."), openai_json=completion(1, 40))
    vectors.embedding.values.extend([1.0] * 950_000)
    vectors.embedding.embedder_fingerprint = fingerprint
    tags = pb.CompleteRequest(prompt=prompt("A text with far too many tags."), tags=["a"] * 1_300_000)
    ids = pb.InvalidateRequest(entry_ids=[f"e{number:x}" for number in range(1, 400_000)], apply=False)
    return {
        "nothing": ("GetStats", [pb.GetStatsRequest().SerializeToString()]),
        "ListEntries, a tag that no entry has": ("ListEntries", [_bytes(pb.ListEntriesRequest(tag="nobody"))]),
        "ListEntries, all": ("ListEntries", [_bytes(pb.ListEntriesRequest())]),
        "Explain, texts of 240 words": (
            "Explain",
            [_bytes(pb.ExplainRequest(prompt=prompt(_text(50 * number + 50 * ENTRIES)))) for number in range(64)],
        ),
        "Invalidate, a dry run over all": ("Invalidate", [_bytes(pb.InvalidateRequest(all=True))]),
        "Invalidate, 400,000 ids": ("Invalidate", [_bytes(ids)]),
        "StoreBatch of 256": ("StoreBatch", [_store_batch(fingerprint, number) for number in range(4)]),
        "LookupBatch of 256 misses": ("LookupBatch", [_lookup_batch(number) for number in range(4)]),
        "typed chat, 400,000 messages": ("Lookup", [_bytes(chat)]),
        "Store, 950,000 numbers of an embedding": ("Store", [_bytes(vectors)]),
        "Complete, 1,300,000 tags": ("Complete", [_bytes(tags)]),
        "Store, an answer of 4 MB of lists": (
            "Store",
            [
                _bytes(
                    pb.StoreRequest(
                        prompt=prompt("A text with a large answer."),
                        openai_json=b'{"choices":[{"message":{"content":"a"}}],"x":['
                        + b"[]," * (LONG_MESSAGE // 3)
                        + b"1]}",
                    )
                )
            ],
        ),
        **lookups,
    }


def _bytes(message: Any) -> bytes:
    raw: bytes = message.SerializeToString()
    return raw


def _around(item: bytes, size: int = LONG_MESSAGE) -> bytes:
    """Return a body with a list of an item, over and over."""
    head = b'{"model":"m","messages":[{"role":"user","content":"a"}],"x":['
    return head + item * (size // len(item)) + b"1]}"


def _body(text: str) -> bytes:
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": text}]}, ensure_ascii=False).encode()


def _lookup(body: bytes) -> bytes:
    return _bytes(pb.LookupRequest(prompt=pb.Prompt(openai_json=body)))


def _store_batch(fingerprint: str, seed: int) -> bytes:
    batch = pb.StoreBatchRequest()
    for number in range(256):
        text = _text(50 * (10_000_000 + 256 * seed + number))
        item = batch.requests.add(prompt=prompt(text), openai_json=completion(number, ANSWER_CHARS))
        item.embedding.values.extend(np.random.default_rng(number).standard_normal(DIMENSION).tolist())
        item.embedding.embedder_fingerprint = fingerprint
    return _bytes(batch)


def _lookup_batch(seed: int) -> bytes:
    texts = [_text(50 * (20_000_000 + 256 * seed + number)) for number in range(256)]
    return _bytes(pb.LookupBatchRequest(requests=[pb.LookupRequest(prompt=prompt(text)) for text in texts]))


def _beside(address: str, call: Call, seconds: float) -> dict[str, Any]:
    """Return the probe's latencies beside callers of a costly call, and how many of its calls ended."""
    with _channel(address) as channel, _load(address, call) as ended:
        probe = channel.unary_unary(SERVICE + "Complete")
        request = complete_request(PROBE)
        _check_hit(probe(request))
        latencies = []
        stop_s = time.monotonic() + seconds
        while time.monotonic() < stop_s:
            started = time.perf_counter()
            probe(request)
            latencies.append(time.perf_counter() - started)
            time.sleep(PAUSE_S)
    p50, p99 = np.quantile(latencies, [0.5, 0.99]) * 1e3
    worst = 1e3 * max(latencies)
    return {"p50_ms": float(p50), "p99_ms": float(p99), "worst_ms": worst, "probes": len(latencies), "calls": ended[0]}


def _check_hit(raw: bytes) -> None:
    response = pb.CompleteResponse.FromString(raw)
    if response.outcome.status != pb.STATUS_EXACT_HIT or not response.text.startswith(answer_mark(0)):
        raise RuntimeError(f"the probe got no exact hit: {response}")


@contextmanager
def _channel(address: str) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options) as channel:
        yield channel


@contextmanager
def _load(address: str, call: Call) -> Iterator[list[int]]:
    """Let callers repeat a call within the block; yield the count of their calls that ended."""
    method, requests = call
    ended, stopping = [0], threading.Event()

    def repeat() -> None:
        with _channel(address) as channel:
            send = _sender(channel, method)
            number = 0
            while not stopping.is_set():
                try:
                    send(requests[number % len(requests)])
                except grpc.RpcError as error:
                    if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL}:  # type: ignore[attr-defined]
                        raise
                number += 1
                ended[0] += 1

    callers = [threading.Thread(target=repeat) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    time.sleep(0.5)
    try:
        yield ended
    finally:
        stopping.set()
        for caller in callers:
            caller.join()


def _sender(channel: grpc.Channel, method: str) -> Callable[[bytes], object]:
    if method != "ListEntries":
        return channel.unary_unary(SERVICE + method)
    stream = channel.unary_stream(SERVICE + method)
    return lambda request: sum(1 for _ in stream(request))


if __name__ == "__main__":
    main()
