"""Files of records, JSON lines or delimited tables, as rows that know their file and line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from semcache.evaluation.labels.lines import parse_object, read_lines, read_text, refuse

Row = tuple[str, Mapping[str, Any]]
"""File and line, and the fields that stand there."""

TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
_DELIMITERS = (",", "\t", ";")
_FIELD_CHARS = 1 << 24
"""The standard library's own limit is 131,072; what a server takes is for its own limits to say."""


def read_rows(path: Path, known: Sequence[frozenset[str]]) -> list[Row]:
    """The records of a file: of a table where its first line is a header, else of JSON lines.

    Args:
        path: the file.
        known: sets of column names; a first line that holds one of them is a header, whatever the file is called.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    if is_table(path, known):
        return list(read_table(path, known))
    return [(where, parse_object(where, text)) for where, text in read_lines(path)]


def is_table(path: Path, known: Sequence[frozenset[str]]) -> bool:
    """Whether a file is a delimited table with a header: by its suffix, or by the names in its first line."""
    if path.suffix.lower() in TABLE_SUFFIXES:
        return True
    first = read_lines(path)[0][1]
    return not first.startswith(("{", "[")) and any(
        names <= set(cells) for cells in _headers(first).values() for names in known
    )


def read_table(path: Path, known: Sequence[frozenset[str]]) -> Iterator[Row]:
    """The rows of a table by column name: delimiter sniffed, quoted line feeds kept, RFC 4180 quoting.

    Args:
        path: the file.
        known: sets of column names; the delimiter that shows one of them is the file's, else the one that cuts most.

    Raises:
        InvalidRequestError: BAD_FILE: no header, a row of another length, a quoted field that doesn't end.
    """
    text = read_text(path)
    if not text.strip():
        refuse(str(path), "holds nothing", "Name a table with a header and one record a row.")
    delimiter = _delimiter(next(line for line in text.split("\n") if line.strip()), known)
    csv.field_size_limit(_FIELD_CHARS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    start, rows = 1, 0
    try:
        for cells in reader:
            where, start = f"{path}:{start}", reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                if len(set(header)) < len(header):
                    refuse(where, "names a column twice", "Each column needs a name of its own.")
                continue
            if len(cells) != len(header):
                refuse(
                    where,
                    f"has {len(cells)} fields and the header {len(header)}",
                    "The file may have been cut off, or a field with a delimiter needs quotes.",
                )
            rows += 1
            yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        hint = "The file may have been cut off within a quoted field; a quote within one is written twice."
        refuse(f"{path}:{start}", f"is no row of a table: {error}", hint)
    if not rows:
        refuse(str(path), "holds a header and no rows", "Name a table with one record a row.")


def _headers(line: str) -> dict[str, list[str]]:
    """The cells of a header under each delimiter."""
    return {
        delimiter: [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))] for delimiter in _DELIMITERS
    }


def _delimiter(line: str, known: Sequence[frozenset[str]]) -> str:
    headers = _headers(line)
    for delimiter, cells in headers.items():
        if any(names <= set(cells) for names in known):
            return delimiter
    return max(headers, key=lambda delimiter: len(headers[delimiter]))
