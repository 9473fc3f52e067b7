"""Reads a file's bytes as text: UTF-8, or UTF-16 with its byte order mark. Any other file is refused by its kind."""

from __future__ import annotations

import codecs
from pathlib import Path

from semcache.evaluation.records.record import refuse

_SIGNATURES = (
    (b"\x1f\x8b", "a gzip file", "Unpack it first."),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "Unpack it first."),
    (b"BZh", "a bzip2 file", "Unpack it first."),
    (b"PK\x03\x04", "a zip file, as an .xlsx is", "Unpack it, or save the sheet as CSV in UTF-8."),
    (b"PAR1", "a Parquet file", "Write it as JSON lines, as with pandas' to_json(orient='records', lines=True)."),
    (b"ARROW1", "an Arrow file", "Write it as JSON lines, as with pandas' to_json(orient='records', lines=True)."),
    (b"SQLite format 3\x00", "an SQLite database", "Export the table as CSV."),
    (b"%PDF", "a PDF", "Name a text file."),
    (b"{\\rtf", "a Rich Text file", "Save it as plain text."),
    (b"<?xml", "an XML file", "Write its records as JSON lines or CSV."),
    (b"<!DOCTYPE", "an HTML page", "Name a text file; a download may have ended at a page of login."),
    (b"<html", "an HTML page", "Name a text file; a download may have ended at a page of login."),
)
"""(first bytes, the file's kind, the way out)."""
_SUFFIXES = {".yaml": "YAML", ".yml": "YAML", ".toml": "TOML", ".xml": "XML", ".html": "HTML", ".py": "Python"}
"""Suffixes of files whose lines aren't prompts, though they are text."""
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def read_text(path: Path) -> str:
    """Return the text of a file with its line ends unchanged and without a byte order mark.

    Raises:
        InvalidRequestError: BAD_FILE: the file can't be read, is of a kind that isn't text, or has an encoding other
            than UTF-8 and marked UTF-16.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        refuse(str(path), f"can't be read: {error.strerror}", "Name a readable file.")
    form = _SUFFIXES.get(path.suffix.lower())
    if form is not None:
        refuse(str(path), f"is a file of {form}", "Write its records as JSON lines or CSV.")
    for signature, kind, hint in _SIGNATURES:
        if content.startswith(signature):
            refuse(str(path), f"is {kind}", hint)
    text = _decode(path, content)
    nul = text.find("\0")
    if nul >= 0:
        hint = "Write it again as UTF-8 text; UTF-16 without a byte order mark looks like this too."
        refuse(f"{path}:{line_of(text, nul)}", "holds a NUL character, which is no text", hint)
    return text


def line_of(text: str, position: int) -> int:
    """Return the number of the line on which a character stands, from 1 on."""
    before = text[:position].replace("\r\n", "\n")
    return 1 + before.count("\n") + before.count("\r")


def _decode(path: Path, content: bytes) -> str:
    for mark, encoding in _UTF16.items():
        if content.startswith(mark):
            try:
                return content[len(mark) :].decode(encoding)
            except UnicodeDecodeError:
                problem = "is not UTF-8 text, nor the UTF-16 that its first bytes announce"
                refuse(f"{path}:1", problem, "Convert the file to UTF-8.")
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        number = line_of(content[: error.start + 3].decode("latin-1"), error.start)
        hint = "Convert the file, as with `iconv -f WINDOWS-1252 -t UTF-8`, or save it as UTF-8."
        refuse(f"{path}:{number}", "is not UTF-8 text", hint)
