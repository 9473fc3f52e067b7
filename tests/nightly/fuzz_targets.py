"""The targets of the fuzzing: what is drawn, what is done with it, and what may not happen.

| target | input | may not happen |
|---|---|---|
| `messages` | bytes for any call | a status that puts the fault on the server, a logged traceback, a stall |
| `bodies` | JSON bodies for each call that takes one | the same |
| `meaning` | a text, and texts that are compared with it | the same |
| `upstream` | an HTTP answer: status, headers, gzip, JSON, events | the same, and no later call fails for it |
| `rows` | rows of a store, changed, with whole checksums or not | any error but the one for damage |
| `labels` | files of labelled pairs | any error but the one for a bad file; over 2 s |
| `prices` | price files | any error but the one for bad settings; over 2 s |
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from hypothesis import strategies as st

from semcache.costs.override import read_price_file
from semcache.errors import InvalidRequestError, SettingsError, StoreError
from semcache.evaluation.labels.files import load_pairs
from semcache.model import LedgerHour, Status
from semcache.store import codec, damage, layout, seals
from semcache.store.embedders import unpack_runs
from semcache.store.eviction import unpack_access
from semcache.store.layout import Counters
from semcache.store.table import sealed
from semcache.testing.upstream_server import Reply
from tests.nightly import inputs
from tests.nightly.replies import replies
from tests.nightly.watched import Watched
from tests.support.stored import entry, record, served

_BROKEN = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
_FILE_S = 2.0
"""The longest that reading a file of a few kilobytes may take."""


@dataclass(frozen=True, slots=True)
class Target:
    """One target: `play` raises where something happened that may not.

    Attributes:
        name: what the command line calls it.
        inputs: what is drawn.
        play: does it.
        take_stall: returns the event loop's longest standstill since the last call, None where there is no server.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    play: Callable[[Any], None]
    take_stall: Callable[[], float | None] = lambda: None


def open_targets(folder: Path, closing: ExitStack) -> Iterator[Target]:
    """Yield all targets, those of the server over one that is closed with `closing`."""
    watched = closing.enter_context(Watched())
    beat = watched.heartbeat.take
    front = _Front(watched)
    yield Target("messages", inputs.message_bytes(), front.send, beat)
    yield Target("bodies", st.tuples(st.sampled_from(sorted(inputs.calls_of(b""))), inputs.json_bytes), front.ask, beat)
    yield Target("meaning", st.lists(_texts_of_one_partition, min_size=2, max_size=3), front.compare, beat)
    yield Target("upstream", st.tuples(st.booleans(), replies()), front.answer, beat)
    yield Target("rows", _rows, _read_row)
    yield Target(
        "labels", st.tuples(st.sampled_from(_SUFFIXES), _label_files), lambda drawn: _read_labels(folder, *drawn)
    )
    yield Target("prices", inputs.changed(st.sampled_from(_PRICE_FILES), 6), lambda drawn: _read_prices(folder, drawn))


class _Front:
    """Calls of a watched server."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._calls = 0

    def send(self, drawn: tuple[str, bytes]) -> None:
        """Send one message, and see that nothing broke."""
        status = self._watched.call(*drawn)
        assert status not in _BROKEN, f"{drawn[0]} ended with {status}"
        assert status is not grpc.StatusCode.DEADLINE_EXCEEDED, f"{drawn[0]} didn't end"
        complaints = self._watched.complaints.take()
        assert not complaints, "\n".join(complaints)

    def ask(self, drawn: tuple[str, bytes]) -> None:
        """Send one body as one call."""
        method, body = drawn
        self.send((method, inputs.calls_of(body)[method]))

    def compare(self, texts: list[str]) -> None:
        """Store an answer for the first text, then look the others up beside it and have the comparison explained."""
        self._calls += 1
        namespace = f"n{self._calls}"
        first, *others = (inputs.calls_of(inputs.plain_body(text), namespace) for text in texts)
        self.send(("Store", first["Store"]))
        for other in others:
            self.send(("Lookup", other["Lookup"]))
            self.send(("Explain", other["Explain"]))

    def answer(self, drawn: tuple[bool, Reply]) -> None:
        """Let the upstream give an answer, and see that a caller and the next one get a status or an answer."""
        streams, reply = drawn
        self._calls += 1
        calls = inputs.calls_of(inputs.plain_body(f"call {self._calls}"))
        method = "CompleteStream" if streams else "Complete"
        self._watched.reply = lambda _: reply
        try:
            self.send((method, calls[method]))
            self.send((method, calls[method]))  # What was stored of it is served.
            self.send(("Lookup", calls["Lookup"]))
        finally:
            self._watched.reply = None


_texts_of_one_partition = st.one_of(
    inputs.texts, inputs.sentences, st.lists(st.sampled_from(inputs.PIECES), min_size=1, max_size=240).map("".join)
).filter(lambda text: bool(text.strip()))

# -- rows

_ENTRY_ID = 7
_HOUR = LedgerHour(3600, "acme", "gpt-4o", "chat", Status.MISS, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
_KINDS = {
    "entry": damage.entry,
    "log line": damage.log_line,
    "hour": damage.ledger_hour,
    "served hit": damage.served_hit,
}
_OTHER_KINDS: dict[str, Callable[[bytes], object]] = {
    "access": lambda row: unpack_access(b"key", row),
    "counters": Counters.unpack,
    "runs": unpack_runs,
    "vector": lambda row: seals.is_vector(b"key", row),
}


def _key_of(name: str, row: bytes) -> bytes:
    if name == "log line":
        line = codec.decode_record(row)
        return struct.pack(">Q", round(line.at_s * 1e6)) + line.request_id.encode() + bytes(4)
    if name == "hour":
        return layout.hour_key(codec.decode_hour(row))
    if name == "served hit":
        return layout.served_key(codec.decode_served(row).hit_id) or b""
    return layout.pack_id(_ENTRY_ID)


def _whole_rows() -> Iterator[tuple[str, bytes, bytes]]:
    """Yield the kind, the key and the row of every row of the golden files, and of some that are written now."""
    for name in ("store_rows", "store_rows_format_1", "store_rows_format_2"):
        golden = json.loads((Path(__file__).parents[1] / "golden" / f"{name}.json").read_text("utf-8"))
        for title, row in golden.items():
            kind = next(kind for kind in _KINDS if kind in title)
            yield kind, _key_of(kind, bytes.fromhex(row)), bytes.fromhex(row)
    for kind, row in (
        ("entry", codec.encode_entry(entry(entry_id=_ENTRY_ID, tags=("t",), sources=("s",)))),
        ("log line", codec.encode_record(record(similarity=0.5))),
        ("hour", codec.encode_hour(_HOUR)),
        ("served hit", codec.encode_served(served())),
    ):
        yield kind, _key_of(kind, row), row


_WHOLE_ROWS = tuple(_whole_rows())
_KEYED_SINCE = 3
"""The format from which on an entry's checksum covers its id."""


@st.composite
def _row(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    """Draw a changed row and its key; often with a checksum that fits again, so that what lies behind it is read."""
    if draw(st.integers(0, 4)) == 0:
        payload = draw(inputs.changed(st.binary(max_size=64)))
        row = draw(st.sampled_from((payload, seals.sealed_row(b"key", payload))))
        return draw(st.sampled_from(sorted(_OTHER_KINDS))), b"key", row
    kind, key, row = draw(st.sampled_from(_WHOLE_ROWS))
    row = draw(inputs.changed(st.just(row)))
    if len(row) > _FORMAT_AT and draw(st.booleans()):
        keyed = kind == "entry" and row[_FORMAT_AT] >= _KEYED_SINCE
        row = sealed(row[_FORMAT_AT:], _ENTRY_ID if keyed else None)
    return kind, key, row


_FORMAT_AT = 4
_rows = _row()


def _read_row(drawn: tuple[str, bytes, bytes]) -> None:
    """Decode a row: a value, or the error that says that it is damaged."""
    kind, key, row = drawn
    if kind in _OTHER_KINDS:
        _OTHER_KINDS[kind](row)
        return
    try:
        _KINDS[kind](key, row)
    except StoreError:
        return


# -- files

_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
_LABEL_ROWS = (
    {"a": "one", "b": "two", "same": True, "kind": "x", "id": "1"},
    {"question1": "one", "question2": "two", "is_duplicate": 1},
    {"cluster": "c", "text": "one"},
    {"intent": "i", "text": "two"},
    {"history": ["one"], "raw": "it", "rewrite": "one"},
    {"premise": "a", "hypothesis": "b", "label": "entailment"},
    {"messages": [{"role": "user", "content": "hi"}], "label": "y"},
)
_label_rows = st.one_of(
    st.sampled_from(_LABEL_ROWS),
    st.builds(
        lambda row, more: {**row, **more},
        st.sampled_from(_LABEL_ROWS),
        st.dictionaries(
            st.sampled_from(("a", "b", "same", "label", "text", "cluster", "namespace")), inputs.values, max_size=3
        ),
    ),
    inputs.values,
)
_label_files = st.one_of(
    inputs.changed(st.lists(_label_rows, max_size=6).map(lambda rows: b"\n".join(map(inputs.as_json, rows)))),
    st.lists(_label_rows, max_size=6).map(inputs.as_json),
    inputs.changed(
        st.sampled_from((b"a,b,same\none,two,1\nthree,four,0\n", b'text\tintent\n"x\ty"\tz\n', b"cluster;text\n1;a\n")),
        6,
    ),
    st.binary(max_size=200),
)
_PRICE_FILES = (
    b"""[[price]]
model = "openai/*"
input = 18.75
output = 75.00
cached_input = 1.875
per_call = 0.001
from = 2026-07-01
tiers = [{ above = 200_000, input = 37.50, output = 112.50 }]
parts = { input_audio = 40.00, web_searches = 10.00 }

[[price]]
model = "m"
service_tier = "flex"
input = 0
output = 1e3
""",
    b"",
)


@contextmanager
def _in_time() -> Iterator[None]:
    started = time.thread_time()
    yield
    took_s = time.thread_time() - started
    assert took_s < _FILE_S, f"reading the file took {took_s:.1f} s"


def _read_labels(folder: Path, suffix: str, content: bytes) -> None:
    path = folder / f"labels{suffix}"
    path.write_bytes(content)
    with _in_time():
        try:
            load_pairs(path)
        except InvalidRequestError:
            return


def _read_prices(folder: Path, content: bytes) -> None:
    path = folder / "prices.toml"
    path.write_bytes(content)
    with _in_time():
        try:
            read_price_file(path)
        except SettingsError:
            return
