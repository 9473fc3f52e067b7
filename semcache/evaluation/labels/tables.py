"""Reads JSON lines and delimited tables as rows, each with its file and line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from semcache.evaluation.labels.lines import parse_object, read_lines, read_text, refuse

Row = tuple[str, Mapping[str, Any]]
"""(file and line, the fields of the record)."""

TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
_DELIMITERS = (",", "\t", ";")
_FIELD_CHARS = 1 << 24
"""Characters in one field. The standard library allows 131,072; a server's own limit on prompts may be higher."""


def read_rows(path: Path, known: Sequence[frozenset[str]]) -> list[Row]:
    """Return the records of a file: the rows of a table if the file is one, else its JSON lines.

    Args:
        path: the file.
        known: sets of column names. A first line that holds one of these sets is a table's header, whatever the
            file's suffix is.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    if is_table(path, known):
        return list(read_table(path, known))
    return [(where, parse_object(where, text)) for where, text in read_lines(path)]


def is_table(path: Path, known: Sequence[frozenset[str]]) -> bool:
    """Return whether a file is a delimited table, by its suffix or by the column names in its first line."""
    if path.suffix.lower() in TABLE_SUFFIXES:
        return True
    first = read_lines(path)[0][1]
    return not first.startswith(("{", "[")) and any(
        names <= set(cells) for cells in _headers(first).values() for names in known
    )


def read_table(path: Path, known: Sequence[frozenset[str]]) -> Iterator[Row]:
    """Yield the rows of a table, each as a mapping from column names to cells. Quoting follows RFC 4180.

    Args:
        path: the file.
        known: sets of column names. The delimiter under which the header holds one of these sets is the file's; if
            there is none, it is the delimiter that gives the most columns.

    Raises:
        InvalidRequestError: BAD_FILE: there is no header, a row has another length, or a quoted field doesn't end.
    """
    text = read_text(path)
    if not text.strip():
        refuse(str(path), "holds nothing", "Name a table with a header and one record in each row.")
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
        hint = "The file may have been cut off inside a quoted field; a quote inside a quoted field is written twice."
        refuse(f"{path}:{start}", f"is no row of a table: {error}", hint)
    if not rows:
        refuse(str(path), "holds a header and no rows", "Name a table with one record in each row.")


def _headers(line: str) -> dict[str, list[str]]:
    """Return the cells of a header line as each delimiter splits it."""
    return {
        delimiter: [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))] for delimiter in _DELIMITERS
    }


def _delimiter(line: str, known: Sequence[frozenset[str]]) -> str:
    headers = _headers(line)
    for delimiter, cells in headers.items():
        if any(names <= set(cells) for names in known):
            return delimiter
    return max(headers, key=lambda delimiter: len(headers[delimiter]))
