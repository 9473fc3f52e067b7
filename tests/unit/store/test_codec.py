"""Rows that are damaged or of a newer format are refused with the row's name, and never read in part."""

import struct
from zlib import crc32

import pytest

from semcache.errors import StoreError, StoreUnusableError
from semcache.model import LedgerHour, Status
from semcache.store import codec
from semcache.store.layout import pack_id
from semcache.store.table import sealed_again
from tests.support.stored import answer, entry, record, served

HOUR = LedgerHour(3600, "acme", "gpt-4o", "chat", Status.MISS, requests=1)
ROWS = {
    "entry": (
        codec.encode_entry(entry(features={"numbers": ("5",)}, entry_id=31)),
        lambda row: codec.decode_entry(31, row),
    ),
    "log line": (codec.encode_record(record()), codec.decode_record),
    "ledger hour": (codec.encode_hour(HOUR), codec.decode_hour),
    "served hit": (codec.encode_served(served()), codec.decode_served),
}


@pytest.mark.parametrize("kind", ROWS)
def test_any_changed_byte_is_noticed(kind):
    row, decode = ROWS[kind]
    for position in range(len(row)):
        damaged = bytearray(row)
        damaged[position] ^= 0x40
        with pytest.raises(StoreError, match=f"{kind}.* is damaged"):
            decode(bytes(damaged))


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_cut_short_is_noticed(kind):
    row, decode = ROWS[kind]
    for length in range(len(row)):
        with pytest.raises(StoreError, match="is damaged"):
            decode(row[:length])


@pytest.mark.parametrize("kind", ROWS)
def test_a_newer_row_names_the_way_out(kind):
    row, decode = ROWS[kind]
    newer = bytes([codec.FORMAT + 1]) + row[5:]
    start = crc32(pack_id(31)) if kind == "entry" else 0
    with pytest.raises(StoreUnusableError, match=f"reads up to {codec.FORMAT}"):
        decode(struct.pack("<I", crc32(newer, start)) + newer)


def test_a_damaged_entry_is_named_as_callers_know_it():
    with pytest.raises(StoreError, match="entry e1f is damaged") as caught:
        codec.decode_entry(31, b"garbage")
    assert caught.value.reason == "STORE_DAMAGED"
    assert "--repair" in caught.value.hint


def test_the_row_of_an_entry_is_refused_under_another_id():
    row = codec.encode_entry(entry(entry_id=31))
    with pytest.raises(StoreError, match="entry e20 is damaged"):
        codec.decode_entry(32, row)
    assert codec.decode_entry(32, sealed_again(row, 32)) == entry(entry_id=32)


def test_an_answers_text_that_stands_in_its_body_is_not_written_twice():
    text = "The quick brown fox. " * 50
    short, escaped = answer(text), answer(text, body=b'{"content":"elsewhere"}')
    assert len(codec.encode_entry(entry(answer=short))) < len(short.body) + 500
    assert codec.decode_entry(0, codec.encode_entry(entry(answer=escaped))).answer == escaped


@pytest.mark.parametrize(
    ("encode", "value"),
    [
        (codec.encode_entry, entry(partition=b"p")),
        (codec.encode_entry, entry(tenant="x" * 70_000)),
        (codec.encode_record, record("x" * 70_000)),
        (codec.encode_served, served("x" * 70_000)),
        (codec.encode_served, served(exact_key=b"")),
    ],
)
def test_what_no_row_can_hold_is_a_value_error(encode, value):
    with pytest.raises(ValueError, match=r"out of range|32 bytes"):
        encode(value)


def test_sums_beyond_a_row_are_cut_and_written():
    whole = LedgerHour(3600, "acme", "m", "", Status.MISS, requests=1 << 63, spent_output_nanousd=1 << 80, wrong_hits=2)
    read = codec.decode_hour(codec.encode_hour(whole))
    assert (read.requests, read.spent_output_nanousd, read.wrong_hits) == ((1 << 63) - 1, (1 << 63) - 1, 2)
