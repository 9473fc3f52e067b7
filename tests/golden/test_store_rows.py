"""The bytes of stored rows: a change here changes the format, and needs a new `codec.FORMAT` that reads the old."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from semcache.model import ZERO_COST, Cost, Entry, LedgerHour, Purpose, Rejection, Status, Usage
from semcache.store import codec
from tests.support.stored import answer, digest, entry, record, served

FOLDER = Path(__file__).parent
GOLDEN = json.loads((FOLDER / "store_rows.json").read_text("utf-8"))
OF_FORMAT_1 = json.loads((FOLDER / "store_rows_format_1.json").read_text("utf-8"))
OF_FORMAT_2 = json.loads((FOLDER / "store_rows_format_2.json").read_text("utf-8"))
OF_FORMAT_3 = json.loads((FOLDER / "store_rows_format_3.json").read_text("utf-8"))
OF_FORMAT_4 = json.loads((FOLDER / "store_rows_format_4.json").read_text("utf-8"))

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
LINE = record(similarity=0.5, entry_id=7, spent=ZERO_COST, saved=Cost(1, 2, 3, priced=True, price_version="v"))
HOUR = LedgerHour(3600, "acme", "gpt-4o", "chat", Status.MISS, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
FIRST = {
    "entry": (entry(entry_id=7), codec.encode_entry, lambda row: codec.decode_entry(7, row)),
    "full entry": (FULL, codec.encode_entry, lambda row: codec.decode_entry(7, row)),
    "log line": (LINE, codec.encode_record, codec.decode_record),
    "hour": (HOUR, codec.encode_hour, codec.decode_hour),
    "served hit": (served(vector=b"\x01\x02", verdict="wrong"), codec.encode_served, codec.decode_served),
}
WRITTEN = Usage(12, 4, 30, cache_write_tokens=5)
SECOND = {
    **FIRST,
    "entry of format 2": (
        entry(entry_id=7, answer=replace(answer("yes"), usage=WRITTEN)),
        codec.encode_entry,
        lambda row: codec.decode_entry(7, row),
    ),
    "log line of format 2": (
        LINE._replace(
            usage=WRITTEN,
            overhead_nanousd=9,
            route="openai",
            degraded=True,
            purpose=Purpose.WRONG_HIT,
            requests=0,
        ),
        codec.encode_record,
        codec.decode_record,
    ),
    "hour of format 2": (
        replace(HOUR, cache_write_tokens=11, overhead_nanousd=12, wrong_hits=13),
        codec.encode_hour,
        codec.decode_hour,
    ),
}
PARTS = WRITTEN._replace(service_tier="flex", parts=(("input_audio", 3), ("web_searches", 1)))
PARTLY = Cost(4, 5, 6, priced=True, price_version="v", partly_priced=True)
THIRD = {
    **SECOND,
    "entry of format 3": (
        entry(entry_id=7, answer=replace(answer("yes"), usage=PARTS), cost=PARTLY),
        codec.encode_entry,
        lambda row: codec.decode_entry(7, row),
    ),
    "log line of format 3": (
        LINE._replace(usage=PARTS, spent=PARTLY, saved=PARTLY),
        codec.encode_record,
        codec.decode_record,
    ),
    "hour of format 3": (replace(HOUR, partly_priced=14), codec.encode_hour, codec.decode_hour),
}
FOURTH = {
    **THIRD,
    "served hit of format 4": (
        served(vector=b"\x01\x02", entry_key=digest("a")),
        codec.encode_served,
        codec.decode_served,
    ),
}
VALUES = {
    **FOURTH,
    "hour of format 5": (replace(HOUR, own_calls_nanousd=15), codec.encode_hour, codec.decode_hour),
    "served hit of format 5": (
        served(vector=b"\x01\x02", entry_key=digest("a"), probability=0.97),
        codec.encode_served,
        codec.decode_served,
    ),
    "entry of format 5": (
        entry(entry_id=7, embedder="f" * 64),
        codec.encode_entry,
        lambda row: codec.decode_entry(7, row),
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_rows_are_written_as_ever(name):
    value, encode, _ = VALUES[name]
    assert encode(value).hex() == GOLDEN[name]


@pytest.mark.parametrize("name", VALUES)
def test_rows_are_read_as_they_were_written(name):
    value, _, decode = VALUES[name]
    assert decode(bytes.fromhex(GOLDEN[name])) == value


@pytest.mark.parametrize("name", FIRST)
def test_rows_of_format_1_are_read(name):
    value, _, decode = FIRST[name]
    assert decode(bytes.fromhex(OF_FORMAT_1[name])) == value


@pytest.mark.parametrize("name", SECOND)
def test_rows_of_format_2_are_read(name):
    value, _, decode = SECOND[name]
    assert decode(bytes.fromhex(OF_FORMAT_2[name])) == value


@pytest.mark.parametrize("name", THIRD)
def test_rows_of_format_3_are_read(name):
    value, _, decode = THIRD[name]
    assert decode(bytes.fromhex(OF_FORMAT_3[name])) == value


@pytest.mark.parametrize("name", FOURTH)
def test_rows_of_format_4_are_read(name):
    value, _, decode = FOURTH[name]
    assert decode(bytes.fromhex(OF_FORMAT_4[name])) == value


def test_every_default_is_left_somewhere():
    assert FULL.answer.usage == Usage(12, 4, 30)
    assert GOLDEN.keys() == VALUES.keys()
    assert OF_FORMAT_1.keys() == FIRST.keys()
    assert OF_FORMAT_2.keys() == SECOND.keys()
    assert OF_FORMAT_3.keys() == THIRD.keys()
    assert OF_FORMAT_4.keys() == FOURTH.keys()
