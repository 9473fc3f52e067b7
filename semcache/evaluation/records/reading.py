"""Reads the records of a file, whatever its form: a table, JSON, or one prompt on each line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semcache.evaluation.records.markup import begins_with_markup, log_in
from semcache.evaluation.records.objects import begins_json, read_objects
from semcache.evaluation.records.record import Record, record_of, refuse
from semcache.evaluation.records.shapes import HEADERS
from semcache.evaluation.records.tables import is_header, read_table
from semcache.evaluation.records.text import read_text

TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
JSON_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})
_LISTS = ("data", "rows", "records", "items", "examples", "observations", "traces")
"""Fields of an object that hold all records of a file, as in the answers of many APIs."""


def read_records(path: Path, headers: Sequence[frozenset[str]] = ()) -> list[Record]:
    """Return the records of a file.

    - A file is a table if its suffix says so, or if its first line is a header with known names.
    - It is JSON if its suffix says so, or if it begins with a JSON value.
    - Any other file holds one prompt on each line that isn't blank. Prompts may stand among lines of JSON too, but not
      in a file with the suffix .json.

    Args:
        path: the file.
        headers: sets of plain column names beside those of prompts, each enough to know a header by.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    text = read_text(path)
    known = (*headers, *HEADERS)
    suffix = path.suffix.lower()
    json_inside = begins_json(text)
    if not json_inside and (suffix in TABLE_SUFFIXES or is_header(text, known)):
        return read_table(str(path), text, known)
    if begins_with_markup(text):
        hint = 'Write each conversation on a line of its own: {"messages": [{"role": "user", "content": "…"}]}.'
        refuse(
            f"{path}:1", "begins text with a chat template's markup, which doesn't say where a conversation ends", hint
        )
    lines = _with_line_feeds(text)
    log = "" if json_inside or suffix in JSON_SUFFIXES else log_in(lines)
    if log:
        refuse(
            f"{path}:1", f"begins {log}, without prompts", "Name a log of requests as JSON lines, with their messages."
        )
    strict = json_inside or suffix in JSON_SUFFIXES
    records = read_objects(str(path), lines, strict=strict, prose=suffix != ".json")
    if not records:
        refuse(str(path), "holds nothing", "Name a file with one record on each line.")
    return _rows_of(records[0], known) if len(records) == 1 else records


def _rows_of(record: Record, known: Sequence[frozenset[str]]) -> list[Record]:
    """Return the records that a file's only object holds as a list; the object itself if it is a record."""
    columns = list(record.fields.values())
    if len(columns) > 1 and (all(map(_is_column, columns)) or all(map(_is_indexed, columns))):
        hint = "Write one object for each record, as with pandas' to_json(orient='records', lines=True)."
        refuse(record.where, "holds a table by columns", hint)
    if any(fields <= record.fields.keys() for fields in known):
        return [record]
    for field in _LISTS:
        rows = record.fields.get(field)
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            # Hugging Face's API wraps each row once more.
            bare = [row["row"] if isinstance(row.get("row"), dict) else row for row in rows]
            return [record_of(f"{record.where} (record {n} of {field})", row) for n, row in enumerate(bare, 1)]
    return [record]


def _is_column(value: object) -> bool:
    return isinstance(value, list) and bool(value) and not any(isinstance(item, dict | list) for item in value)


def _is_indexed(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(str(key).isdecimal() for key in value)


def _with_line_feeds(text: str) -> str:
    """Return a text whose lines end with line feeds. A carriage return ends a line where no line feed does."""
    lines = text.replace("\r\n", "\n")
    return lines if "\n" in lines else lines.replace("\r", "\n")
