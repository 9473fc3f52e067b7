"""The bytes of stored rows: a change here changes the format, and needs a new `codec.FORMAT` that reads the old."""

import json
from pathlib import Path

import pytest

from semcache.model import ZERO_COST, Cost, Entry, LedgerHour, Rejection, Status, Usage
from semcache.store import codec
from tests.support.stored import answer, digest, entry, record, served

GOLDEN = json.loads((Path(__file__).parent / "store_rows.json").read_text("utf-8"))

FULL: Entry = entry(
    tags=("faq",),
    sources=("doc 1",),
    task_type="support",
    template_id="t1",
    knowledge_version="k2",
    features={"numbers": ("5",), "negation": ()},
    rejections=(Rejection(digest("r"), b"\x01\x02"),),
    answer=answer("größer\n", body=b'{"content":"gr\\u00f6\\u00dfer\\n"}', degraded=True, tool_calls=True, attempts=2),
    entry_id=7,
)
VALUES = {
    "entry": (entry(entry_id=7), codec.encode_entry, lambda row: codec.decode_entry(7, row)),
    "full entry": (FULL, codec.encode_entry, lambda row: codec.decode_entry(7, row)),
    "log line": (
        record(similarity=0.5, entry_id=7, spent=ZERO_COST, saved=Cost(1, 2, 3, priced=True, price_version="v")),
        codec.encode_record,
        codec.decode_record,
    ),
    "hour": (
        LedgerHour(3600, "acme", "gpt-4o", "chat", Status.MISS, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
        codec.encode_hour,
        codec.decode_hour,
    ),
    "served hit": (served(vector=b"\x01\x02", verdict="wrong"), codec.encode_served, codec.decode_served),
}


@pytest.mark.parametrize("name", VALUES)
def test_rows_are_written_as_ever(name):
    value, encode, _ = VALUES[name]
    assert encode(value).hex() == GOLDEN[name]


@pytest.mark.parametrize("name", VALUES)
def test_rows_of_old_are_read(name):
    value, _, decode = VALUES[name]
    assert decode(bytes.fromhex(GOLDEN[name])) == value


def test_every_default_is_left_somewhere():
    assert FULL.answer.usage == Usage(12, 4, 30)
    assert GOLDEN.keys() == VALUES.keys()
