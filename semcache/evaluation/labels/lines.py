"""Reads files with one record on each line, so that every complaint can name its file and line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from semcache.errors import InvalidRequestError

_BOM = b"\xef\xbb\xbf"


def read_lines(path: Path) -> list[tuple[str, str]]:
    """Return (file and line number, text) for each line that isn't blank.

    Raises:
        InvalidRequestError: BAD_FILE: the file can't be read, is empty, or has a line that is not UTF-8.
    """
    lines = []
    # Only line feeds end a line here: `splitlines` also splits at U+2028, which may stand inside a JSON string.
    for number, raw in enumerate(_read_bytes(path).split(b"\n"), start=1):
        try:
            text = raw.decode().strip()
        except UnicodeDecodeError:
            refuse(f"{path}:{number}", "is not UTF-8 text", "Convert the file to UTF-8.")
        if text:
            lines.append((f"{path}:{number}", text))
    if not lines:
        refuse(str(path), "holds nothing", "Name a file with one record on each line.")
    return lines


def read_text(path: Path) -> str:
    """Return the text of a file with its line ends unchanged.

    Raises:
        InvalidRequestError: BAD_FILE: the file can't be read, or is not UTF-8.
    """
    content = _read_bytes(path)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        refuse(f"{path}:{number}", "is not UTF-8 text", "Convert the file to UTF-8.")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes().removeprefix(_BOM)
    except OSError as error:
        refuse(str(path), f"can't be read: {error.strerror}", "Name a readable file.")


def parse_object(where: str, text: str) -> Mapping[str, Any]:
    """Return the JSON object of a line.

    Raises:
        InvalidRequestError: BAD_FILE: the line is not a whole JSON object, or it holds half a surrogate pair.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # ValueError covers bad JSON and integers of thousands of digits.
        refuse(where, "is not a JSON object", "A line may have been cut off.")
    if not isinstance(value, dict):
        refuse(where, "is not a JSON object", "Each line holds one JSON object.")
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            refuse(where, "holds half of a surrogate pair, which is no text", "Write whole characters.")
    return value


def refuse(where: str, problem: str, hint: str) -> NoReturn:
    """Raise BAD_FILE for a file or for one of its lines; `where` names it."""
    raise InvalidRequestError(f"{where} {problem}.", reason="BAD_FILE", hint=hint)
