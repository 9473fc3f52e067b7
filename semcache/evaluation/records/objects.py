"""Reads JSON records: one on each line, over several lines, in an array; and lines that are no JSON as prompts."""

from __future__ import annotations

import ast
import json
import re
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from semcache.evaluation.records.messages import is_message
from semcache.evaluation.records.record import Record, record_of, refuse

_VALUE = re.compile(r"""\{\s*(?:["'}]|\Z)|\[\s*(?:["'\[{\]\d-]|\Z)""")
"""The beginning of an object or an array. A prompt may begin with a bracket too: `{name}, hello`, or `[urgent]`."""
_SURE = re.compile(r"""\{\s*(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')\s*:""")
"""The beginning of an object that can hardly be meant as a prompt, because a quoted name and a colon follow."""
_ENDED = re.compile(r"[ \t]*,?[ \t]*(?=\n|\Z|[{\[])")
"""All that may follow a record on its line: nothing, a comma, another record."""
_SURPLUS = re.compile(r",\s*[}\]]")
_PYTHON = re.compile(r"[\[{]\s*(?:[\[{]\s*)*'")
_BLANK = re.compile(r"[\s\ufeff]*")
_SCALAR = re.compile(r"null|true|false|-?\d[\d.eE+-]*")
_AS_JSON = "Write it as JSON, as with Python's json.dumps."
Items = list[tuple[int, Any]]
"""Values with the positions at which they begin."""


def begins_json(text: str) -> bool:
    """Return whether a text begins with a JSON value that nothing else follows on its line, or with a broken one."""
    start = _blank(text, 0)
    if not _VALUE.match(text, start):
        return False
    try:
        _, end = _decode(text, start)
    except (ValueError, RecursionError):
        return bool(_SURE.match(text, start))
    return _ENDED.match(text, end) is not None


def read_objects(name: str, text: str, *, strict: bool, prose: bool) -> list[Record]:
    """Return the records of a text of JSON values, prompts, or both.

    A record is an object, a list of messages, or a text, which is a prompt. An array holds records.

    Args:
        name: the file's name for messages.
        text: the text, with line feeds alone.
        strict: whether a line that begins a JSON value must be one; False takes it as a prompt if it isn't.
        prose: whether a line that begins no JSON value is a prompt; False refuses it.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    ends = [end - 1 for end in accumulate(len(line) + 1 for line in text.split("\n"))]
    escaped = "\\u" in text
    records: list[Record] = []
    for position, value in _values(name, text, ends, strict=strict, prose=prose):
        where = _where(name, ends, position)
        if escaped:
            _check_characters(where, value)
        records += _records(where, value)
    return records


def read_value(where: str, field: str, text: str) -> Any:
    """Return the value that the text of one field writes as JSON or as a Python literal.

    Raises:
        InvalidRequestError: BAD_FILE: the text is neither.
    """
    try:
        return _value(text.strip())
    except ValueError:
        refuse(where, f"has a field {field} that is neither JSON nor a Python literal", _AS_JSON)


def conversation_in(text: str) -> Any:
    """Return the conversation or the request that a text writes as JSON or Python; None if the text is a prompt."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    value = value_in(text)
    if isinstance(value, list) and value and all(map(is_message, value)):
        return value
    return value if isinstance(value, dict) and "messages" in value else None


def value_in(text: str) -> Any:
    """Return the value that a text writes as JSON or as a Python literal; None if it writes none."""
    try:
        return _value(text.strip())
    except ValueError:
        return None


def _value(text: str) -> Any:
    try:
        value, end = _decode(text, 0)
    except (ValueError, RecursionError):
        return _literal(text)
    if end < len(text):
        raise ValueError("text follows the value")
    return value


def _values(name: str, text: str, ends: list[int], *, strict: bool, prose: bool) -> Iterator[tuple[int, Any]]:
    """Yield the values of a text, each with the position at which it begins."""
    position = _blank(text, 0)
    while position < len(text):
        where, line_end = _where(name, ends, position), ends[bisect_left(ends, position)]
        line = text[position:line_end].strip()
        if not _VALUE.match(text, position):
            items, end = _string(text, position) if strict and line.startswith('"') else (None, line_end)
        elif _PYTHON.match(line):
            items, end = _python(where, line, position, strict=strict), line_end
        else:
            items, end = _object(where, text, position, strict=strict)
        if items is None:
            if not prose or (strict and _SCALAR.fullmatch(line)):
                refuse(where, "is not a JSON object", "A record is an object, a text in quotes, or a list of messages.")
            yield position, line
            position = _blank(text, line_end)
            continue
        yield from items
        position = _blank(text, end)
        if text.startswith(",", position):
            position = _blank(text, position + 1)


def _object(where: str, text: str, position: int, *, strict: bool) -> tuple[Items | None, int]:
    """Return the values at a position, and where they end; no values if the line is a prompt."""
    try:
        items, end = _array(text, position) if text[position] == "[" else _single(text, position)
    except (ValueError, RecursionError) as error:
        if not strict:
            return None, position
        problem, hint = _cause(error, text)
        refuse(where, f"is not a JSON object: {problem}", hint)
    if _ENDED.match(text, end):
        return items, end
    if strict:
        refuse(where, "is not a JSON object: text follows it on its line", "Put each record on a line of its own.")
    return None, position


def _array(text: str, position: int) -> tuple[Items, int]:
    """Return the elements of an array and where it ends; an array of messages is one value."""
    items: Items = []
    start, position = position, _blank(text, position + 1)
    if text.startswith("]", position):
        return items, position + 1
    while True:
        value, end = _decode(text, position)
        items.append((position, value))
        end = _blank(text, end)
        if text.startswith("]", end):
            values = [value for _, value in items]
            return ([(start, values)] if _is_conversation(values) else items), end + 1
        if not text.startswith(",", end):
            raise json.JSONDecodeError("Expecting ',' delimiter", text, end)
        position = _blank(text, end + 1)


def _single(text: str, position: int) -> tuple[Items, int]:
    value, end = _decode(text, position)
    return [(position, value)], end


def _string(text: str, position: int) -> tuple[Items | None, int]:
    """Return a text in quotes and where it ends; nothing if more follows, as in `"Help" is what I need`."""
    try:
        items, end = _single(text, position)
    except ValueError:
        return None, position
    return (items, end) if _ENDED.match(text, end) else (None, position)


def _python(where: str, line: str, position: int, *, strict: bool) -> Items | None:
    """Return the value of a line that a Python program printed; nothing if the line is a prompt."""
    try:
        return [(position, _literal(line.rstrip(",")))]
    except ValueError:
        if strict:
            refuse(where, "is neither JSON nor a Python literal", _AS_JSON)
        return None


def _literal(text: str) -> Any:
    """Return the value of a Python literal, such as `{'prompt': 'hello'}`, that JSON can hold too.

    Raises:
        ValueError: it is no literal, or it holds what JSON doesn't have.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # Python warns of `\d` in a text, which is no fault here.
            value = ast.literal_eval(text.strip())
        json.dumps(value)
    except (TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError("no literal") from error
    return value


def _records(where: str, value: Any) -> list[Record]:  # noqa: RET503 - `refuse` never returns
    if isinstance(value, dict):
        return [record_of(where, value)]
    if isinstance(value, str):
        return [Record(where, {"prompt": value})]
    if isinstance(value, list) and _is_conversation(value):
        return [Record(where, {"messages": value})]
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return [record_of(where, item) for item in value]
    refuse(where, "is not a JSON object", "A record is an object, a text, or a list of messages.")


def _is_conversation(values: list[Any]) -> bool:
    return bool(values) and all(is_message(value) for value in values)


def _constant(name: str) -> None:
    if name != "NaN":  # pandas writes NaN for a missing value.
        raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_constant)


def _decode(text: str, position: int) -> tuple[Any, int]:
    return _DECODER.raw_decode(text, position)


def _cause(error: Exception, text: str) -> tuple[str, str]:
    """Return what is wrong with a JSON value in words, and the way out."""
    if isinstance(error, RecursionError):
        return "it is nested too deep", "Flatten it."
    if not isinstance(error, json.JSONDecodeError):  # NaN's relatives, and integers of thousands of digits.
        return f"{str(error)[:60]}", "Write a number that JSON has."
    comma = _SURPLUS.match(text, max(0, text.rfind(",", 0, error.pos + 1)))
    if comma and comma.end() > error.pos:
        return f"a comma stands before the closing bracket at line {error.lineno}", "Remove that comma."
    hint = "A line may have been cut off, or the file isn't JSON."
    return f"{error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}", hint


def _check_characters(where: str, value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        refuse(where, "holds half of a surrogate pair, which is no text", "Write whole characters.")


def _blank(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _where(name: str, ends: list[int], position: int) -> str:
    return f"{name}:{bisect_left(ends, position) + 1}"
