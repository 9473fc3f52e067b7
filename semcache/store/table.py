"""A table of columns from which one kind of row is written and read, so that their order stands in one place.

A row is `crc32 | format | flags | fixed columns | columns of later formats | text run | raw bytes`. All texts of a row
lie in one UTF-8 run, and their lengths are counted in characters: one decoding and a few slices bring them all back.
Nothing is ever evaluated or unpickled.

An entry's checksum covers its key too since format 3, because no column repeats an entry's id: a row that damage moved
under another id would be served for that one's text. The other kinds repeat their keys in their columns.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from itertools import accumulate, compress
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Any
from zlib import crc32

from semcache.errors import StoreError, StoreUnusableError
from semcache.model import format_entry_id

FORMAT = 5
"""Version of the layout of rows; the store as a whole has `layout.STORE_FORMAT`. A row of an earlier format lacks the
columns that exist since a later one: they are read as 0 or empty."""

_CRC = struct.Struct("<I")
_FORMAT_AT = _CRC.size
_START = _FORMAT_AT + 1
_KEYED_SINCE = 3
"""The first format in which the checksum of an entry covers its id."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Kind(Enum):
    """How a column is written."""

    FLAG = "a bit of the byte of flags"
    FIXED = "a number, or bytes of a fixed length"
    TEXT = "its length in characters here, itself in the text run"
    RUN = "the length of the text run in bytes; without such a column the run ends with the row"


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a row.

    Attributes:
        path: the attribute that holds it, as in `answer.usage.input_tokens`. For a derived column it is only a name.
        kind: how it is written.
        code: the `struct` code of the value, or of a text's length.
        since: the format that added it.
        derived: the encoder supplies it, and the decoder interprets it; no attribute holds it.
        convert: makes the value from what was read.
    """

    path: str
    kind: Kind
    code: str = ""
    since: int = 1
    derived: bool = False
    convert: Callable[[Any], Any] | None = None


def flags(*paths: str, derived: bool = False) -> tuple[Column, ...]:
    """Return columns of one bit each, from the lowest bit on."""
    return tuple(Column(path, Kind.FLAG, derived=derived) for path in paths)


def fixed(code: str, *paths: str, since: int = 1, derived: bool = False) -> tuple[Column, ...]:
    """Return columns of one `struct` code."""
    return tuple(Column(path, Kind.FIXED, code, since, derived) for path in paths)


def texts(
    code: str, *paths: str, since: int = 1, derived: bool = False, convert: Callable[[str], Any] | None = None
) -> tuple[Column, ...]:
    """Return columns of text whose lengths have one `struct` code."""
    return tuple(Column(path, Kind.TEXT, code, since, derived, convert) for path in paths)


RUN_LENGTH = (Column("", Kind.RUN, "I"),)


class RowTable:
    """The columns of one kind of row, in the order of their bytes.

    Args:
        name: the kind of row, for errors.
        columns: in the order of their bytes; those of a later format come last.
        parts: what `build` makes, innermost first: a path and its class. The last one is the whole value, path "".
        supplied: paths that no column holds and that the decoder supplies to `build`.
    """

    def __init__(
        self,
        name: str,
        columns: Iterable[Column],
        parts: Iterable[tuple[str, type]],
        supplied: Sequence[str] = (),
    ) -> None:
        columns = tuple(columns)
        self.name = name
        self._supplied = _getter(supplied)
        # In memory the values of a row are ordered by kind; derived columns follow the others when they are encoded.
        ordered = [column for kind in (Kind.FIXED, Kind.TEXT, Kind.FLAG) for column in columns if column.kind is kind]
        source = [column for column in ordered if not column.derived]
        source += [column for column in ordered if column.derived]
        self._derived = _getter([column.path for column in source if column.derived])
        self._attributes = attrgetter(*(column.path for column in source if not column.derived))
        self._fixed_values = _picker(source, [column for column in ordered if column.kind is Kind.FIXED])
        self._texts = _picker(source, [column for column in ordered if column.kind is Kind.TEXT])
        self._flags = _picker(source, [column for column in ordered if column.kind is Kind.FLAG])
        self._bits = tuple(1 << bit for bit in range(sum(column.kind is Kind.FLAG for column in columns)))
        self._flags_of_byte = tuple(tuple(byte & bit != 0 for bit in self._bits) for byte in range(256))
        self._layout(columns, ordered)
        self._converted = tuple(
            (position, column.convert) for position, column in enumerate(ordered) if column.convert is not None
        )
        self._positions = {column.path: position for position, column in enumerate(ordered)}
        self._steps = _steps({**self._positions, **{path: len(ordered) + n for n, path in enumerate(supplied)}}, parts)

    def _layout(self, columns: tuple[Column, ...], ordered: list[Column]) -> None:
        """Derive the two structs, and the ways between their order and that of the values in memory."""
        flag_column = Column("", Kind.FLAG, "B")
        stored = [flag_column] * bool(self._bits) + [column for column in columns if column.kind is not Kind.FLAG]
        run_column = next((column for column in columns if column.kind is Kind.RUN), None)
        packed = [flag_column, *(column for column in ordered if column.kind is not Kind.FLAG)]
        packed += [] if run_column is None else [run_column]
        self._packed = itemgetter(*(packed.index(column) for column in stored))
        older = [column for column in stored if column.since == 1]
        later = [column for column in stored if column.since > 1]
        self._older_count = len(older)
        self._older = struct.Struct("<" + "".join(column.code for column in older))
        by_format = [[column for column in later if column.since <= number] for number in range(FORMAT + 1)]
        self._later_of_format = tuple(
            (struct.Struct("<" + "".join(column.code for column in present)), (0,) * (len(later) - len(present)))
            for present in by_format
        )
        self._later, _ = self._later_of_format[FORMAT]
        self._run_at = None if run_column is None else stored.index(run_column)
        self._stored_fixed = _picker(stored, [column for column in ordered if column.kind is Kind.FIXED])
        self._stored_lengths = _picker(stored, [column for column in ordered if column.kind is Kind.TEXT])

    def position(self, path: str) -> int:
        """Return where `unpack` puts a column."""
        return self._positions[path]

    def pack(self, value: object, derived: Mapping[str, Any] = _NOTHING) -> bytes:
        """Return the columns and the text run of a value, without checksum and raw bytes.

        Args:
            value: what is stored.
            derived: the values of the derived columns, by path.

        Raises:
            ValueError: a number or the length of a text is out of range.
        """
        source = self._attributes(value) + self._derived(derived)
        strings = self._texts(source)
        run = "".join(strings).encode("utf-8", "surrogatepass")
        flag_byte = sum(compress(self._bits, self._flags(source)))
        packed = self._packed((flag_byte, *self._fixed_values(source), *map(len, strings), len(run)))
        older, later = packed[: self._older_count], packed[self._older_count :]
        try:
            return b"%c%b%b%b" % (FORMAT, self._older.pack(*older), self._later.pack(*later), run)
        except struct.error as error:
            raise ValueError(f"a field of this {self.name} is out of range: {error}") from error

    def unpack(self, row: bytes, entry_id: int | None = None) -> tuple[list[Any], int]:
        """Return the values of a row's columns, and where its raw bytes begin.

        Args:
            row: the whole row.
            entry_id: the row's key, where it is an entry's: the checksum covers it, and errors name it.

        Raises:
            StoreError: the row is damaged.
            StoreUnusableError: a newer semcache wrote it.
        """
        self._verify(row, entry_id)
        stored = self._older.unpack_from(row, _START)
        start = _START + self._older.size
        later, absent = self._later_of_format[row[_FORMAT_AT]]
        stored += later.unpack_from(row, start) + absent
        start += later.size
        end = len(row) if self._run_at is None else start + stored[self._run_at]
        run = row[start:end].decode("utf-8", "surrogatepass")
        values = [*self._stored_fixed(stored)]
        ends = tuple(accumulate(self._stored_lengths(stored), initial=0))
        values += map(run.__getitem__, map(slice, ends, ends[1:]))
        if self._bits:
            values += self._flags_of_byte[stored[0]]
        for position, convert in self._converted:
            values[position] = convert(values[position])
        return values, end

    def build(self, values: list[Any], supplied: Mapping[str, Any] = _NOTHING) -> Any:
        """Return the value whose columns were unpacked.

        Args:
            values: from `unpack`; this list is used up.
            supplied: the values of the supplied paths, by path.
        """
        values += self._supplied(supplied)
        for make, arguments in self._steps:
            values.append(make(*arguments(values)))
        return values[-1]

    def _verify(self, row: bytes, entry_id: int | None) -> None:
        """Check a row's checksum before anything else of it is read, then its format."""
        if len(row) <= _FORMAT_AT or row[:_FORMAT_AT] != _checksum(memoryview(row)[_FORMAT_AT:], entry_id):
            what = self.name if entry_id is None else f"{self.name} {format_entry_id(entry_id)}"
            raise StoreError(
                f"{what} is damaged: its checksum doesn't match its bytes.",
                hint="`semcache check --repair` removes it.",
                reason="STORE_DAMAGED",
            )
        if row[_FORMAT_AT] > FORMAT:
            raise StoreUnusableError(
                f"this {self.name} has format {row[_FORMAT_AT]}, and this semcache reads up to {FORMAT}.",
                hint="Start the newer semcache that wrote it, or name an empty store.path.",
            )


def format_of(row: bytes) -> int:
    """Return the format of a whole row."""
    return row[_FORMAT_AT]


def sealed(payload: bytes, entry_id: int | None = None) -> bytes:
    """Return a row: its checksum and its bytes. The checksum of an entry's row covers its id too."""
    return _checksum(payload, entry_id) + payload


def sealed_again(row: bytes, entry_id: int) -> bytes:
    """Return the row of an entry under the id that it was given."""
    return sealed(row[_FORMAT_AT:], entry_id)


def _checksum(payload: bytes | memoryview, entry_id: int | None) -> bytes:
    """Return the first bytes of a row. CRC-32 finds every run of up to 32 flipped bits, and is in the standard library.

    It costs 2 µs for each kilobyte of a row at most; a keyed hash would cost more and guard nothing more, because who
    can write the file can write the checksum.
    """
    if entry_id is None or payload[0] < _KEYED_SINCE:
        return _CRC.pack(crc32(payload))
    return _CRC.pack(crc32(payload, crc32(entry_id.to_bytes(8, "big"))))


def _getter(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return `itemgetter(*keys)` that gives a tuple for every number of keys, not only from two on."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda items: tuple(items[key] for key in keys)


def _picker(source: Sequence[Column], wanted: Sequence[Column]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Return what takes the values of some columns, as a tuple, out of the values of all."""
    return _getter([source.index(column) for column in wanted])


def _steps(
    positions: Mapping[str, int], parts: Iterable[tuple[str, type]]
) -> tuple[tuple[type, Callable[[Sequence[Any]], tuple[Any, ...]]], ...]:
    """Return for each part its class, and what takes its arguments out of the values and the parts made before it."""
    known = dict(positions)
    count = len(known)
    steps = []
    for path, part in parts:
        names = [field.name for field in fields(part)] if is_dataclass(part) else part._fields  # type: ignore[attr-defined]
        steps.append((part, itemgetter(*(known[f"{path}.{name}".lstrip(".")] for name in names))))
        known[path] = count
        count += 1
    return tuple(steps)
