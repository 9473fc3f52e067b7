"""Reads delimited tables as records: a header, and a record in each row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from semcache.evaluation.records.record import Record, plain, record_of, refuse

DELIMITERS = (",", "\t", ";", "|")
_LINE = re.compile(r"[^\r\n]+")
_SEPARATOR = re.compile(r"(?i)\s*sep=(.)\s*(?:\r\n?|\n)")
"""A first line such as `sep=;`, with which Excel is told the delimiter."""
_FIELD_CHARS = 1 << 24
"""Characters in one field. The standard library allows 131,072; a server's own limit on prompts may be higher."""
Quoting = Literal[0, 3]
_QUOTED: Quoting = csv.QUOTE_MINIMAL
_UNQUOTED: Quoting = csv.QUOTE_NONE
_NAME = re.compile(r"\w[\w .-]{0,40}")


def is_header(text: str, known: Sequence[frozenset[str]]) -> bool:
    """Return whether the first line of a text is a table's header: it has several names, and one of the known sets.

    A known set of one name counts only where no space stands beside a delimiter: "text, please" is a prompt.
    """
    line = _first_line(text)
    for delimiter in DELIMITERS:
        cells = _cells(line, delimiter)
        tight = all(_NAME.fullmatch(cell) for cell in cells)
        names = {plain(cell) for cell in cells}
        if len(cells) > 1 and any(columns <= names and (tight or len(columns) > 1) for columns in known):
            return True
    return False


def read_table(name: str, text: str, known: Sequence[frozenset[str]]) -> list[Record]:
    """Return the rows of a table. Quoting follows RFC 4180; a table with tabs may have no quoting at all.

    Args:
        name: the file's name for messages.
        text: the table.
        known: sets of plain column names. The delimiter under which the header holds one of these sets is the
            table's; if there is none, it is the delimiter that gives the most columns.

    Raises:
        InvalidRequestError: BAD_FILE: there is no header, a row has another length, or a quoted field doesn't end.
    """
    separator = _SEPARATOR.match(text)
    body = text[separator.end() :] if separator else text
    if not body.strip():
        refuse(name, "holds nothing", "Name a table with a header and one record in each row.")
    delimiter = separator[1] if separator else _delimiter(_first_line(body), known)
    csv.field_size_limit(_FIELD_CHARS)
    first = 2 if separator else 1
    try:
        records = list(_rows(name, body, first, delimiter, _QUOTED))
    except _QuotingError as error:
        if delimiter != "\t" or error.cut_off:
            refuse(error.where, f"is no row of a table: {error}", error.hint)
        records = list(_rows(name, body, first, delimiter, _UNQUOTED))
    if not records:
        refuse(name, "holds a header and no rows", "Name a table with one record in each row.")
    return records


class _QuotingError(Exception):
    """A row whose quotes don't follow RFC 4180."""

    hint = "The file may have been cut off inside a quoted field; a quote inside a quoted field is written twice."

    def __init__(self, where: str, cause: csv.Error) -> None:
        super().__init__(str(cause))
        self.where = where
        self.cut_off = "unexpected end" in str(cause)


def _rows(name: str, text: str, first: int, delimiter: str, quoting: Quoting) -> Iterator[Record]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, quoting=quoting)
    header: list[str] = []
    start = first
    try:
        for cells in reader:
            where, start = f"{name}:{start}", first + reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                names = [plain(cell) for cell in header if cell]
                if len(set(names)) < len(names):
                    refuse(where, "names a column twice", "Each column needs a name of its own.")
                continue
            if len(cells) != len(header):
                refuse(
                    where,
                    f"has {len(cells)} fields and the header {len(header)}",
                    "The file may have been cut off, or a field with a delimiter needs quotes.",
                )
            yield record_of(where, {key: cell for key, cell in zip(header, cells, strict=True) if key})
    except csv.Error as error:
        raise _QuotingError(f"{name}:{start}", error) from error


def _first_line(text: str) -> str:
    line = _LINE.search(text)
    return line[0] if line else ""


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _delimiter(line: str, known: Sequence[frozenset[str]]) -> str:
    headers = {delimiter: {plain(cell) for cell in _cells(line, delimiter)} for delimiter in DELIMITERS}
    for columns in known:
        for delimiter, names in headers.items():
            if columns <= names:
                return delimiter
    return max(headers, key=lambda delimiter: len(headers[delimiter]))
