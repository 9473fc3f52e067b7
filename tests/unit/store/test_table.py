"""A table of columns writes and reads a value, also one that was written before a column existed."""

from dataclasses import dataclass

import pytest

from semcache.errors import StoreUnusableError
from semcache.store.table import FORMAT, RUN_LENGTH, RowTable, fixed, flags, sealed, texts


@dataclass(frozen=True)
class Inner:
    number: int
    is_set: bool
    later: int


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    tail: bytes
    note: str


TABLE = RowTable(
    "sample",
    (
        *flags("inner.is_set"),
        *flags("is_short", derived=True),
        *fixed("q", "inner.number"),
        *texts("H", "name"),
        *RUN_LENGTH,
        *fixed("q", "inner.later", since=2),
        *texts("H", "note", since=2),
    ),
    parts=(("inner", Inner), ("", Outer)),
    supplied=("tail",),
)
VALUE = Outer("größer", Inner(-5, is_set=True, later=7), b"tail", "ok")


def test_a_value_is_read_as_it_was_written():
    row = sealed(TABLE.pack(VALUE, {"is_short": True}) + VALUE.tail)
    values, end = TABLE.unpack(row)
    assert row[end:] == b"tail"
    assert values[TABLE.position("is_short")] is True
    assert TABLE.build(values, {"tail": row[end:]}) == VALUE


def test_a_row_of_the_first_format_lacks_the_later_columns():
    name = "größer".encode()
    flag_byte, number, chars = b"\x01", (-5).to_bytes(8, "little", signed=True), b"\x06\0"
    row = sealed(b"\x01" + flag_byte + number + chars + len(name).to_bytes(4, "little") + name + b"tail")
    values, end = TABLE.unpack(row)
    assert TABLE.build(values, {"tail": row[end:]}) == Outer("größer", Inner(-5, is_set=True, later=0), b"tail", "")


def test_a_number_or_a_text_beyond_its_column_is_a_value_error():
    for value in (Outer("x" * 65_536, VALUE.inner, b"", ""), Outer("", Inner(1 << 63, is_set=False, later=0), b"", "")):
        with pytest.raises(ValueError, match="a field of this sample is out of range"):
            TABLE.pack(value, {"is_short": False})


def test_a_row_of_a_newer_format_is_refused():
    with pytest.raises(StoreUnusableError, match=f"this sample has format {FORMAT + 1}"):
        TABLE.unpack(sealed(bytes([FORMAT + 1])))
