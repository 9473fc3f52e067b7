"""Reads the records of a file, whatever its form: a table, JSON, or one prompt on each line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semcache.evaluation.records.messages import begins_with_markup
from semcache.evaluation.records.objects import begins_json, read_objects
from semcache.evaluation.records.record import Record, refuse
from semcache.evaluation.records.shapes import HEADERS
from semcache.evaluation.records.tables import is_header, read_table
from semcache.evaluation.records.text import read_text

TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
JSON_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})


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
    strict = json_inside or suffix in JSON_SUFFIXES
    records = read_objects(str(path), _with_line_feeds(text), strict=strict, prose=suffix != ".json")
    if not records:
        refuse(str(path), "holds nothing", "Name a file with one record on each line.")
    return records


def _with_line_feeds(text: str) -> str:
    """Return a text whose lines end with line feeds. A carriage return ends a line where no line feed does."""
    lines = text.replace("\r\n", "\n")
    return lines if "\n" in lines else lines.replace("\r", "\n")
