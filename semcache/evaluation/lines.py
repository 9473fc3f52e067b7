"""Files of one record a line, read so that every complaint names its file and line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from semcache.errors import InvalidRequestError

Message = Mapping[str, Any]
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """One line that isn't blank.

    Attributes:
        where: the file and the line's number, for messages.
        text: without the spaces around it.
    """

    where: str
    text: str


def read_lines(path: Path) -> Iterator[Line]:
    """The lines that aren't blank, in order.

    Raises:
        InvalidRequestError: BAD_FILE: it can't be read, a line is not UTF-8, or there is none.
    """
    number = 0
    try:
        # Split at line feeds alone: U+2028 and its like may stand unescaped within a JSON string.
        with path.open("rb") as file:
            found = False
            for number, raw in enumerate(file, start=1):
                text = (raw.removeprefix(_BOM) if number == 1 else raw).decode().strip()
                if text:
                    found = True
                    yield Line(f"{path}:{number}", text)
    except OSError as error:
        refuse(str(path), f"can't be read: {error.strerror}", "Name a readable file.")
    except UnicodeDecodeError:
        refuse(f"{path}:{number}", "is not UTF-8 text", "Convert the file to UTF-8.")
    if not found:
        refuse(str(path), "is empty", "Give a file with one record a line.")


def as_object(line: Line) -> Mapping[str, Any]:
    """The JSON object on a line.

    Raises:
        InvalidRequestError: BAD_FILE: half an object, something else, or text that UTF-8 can't carry.
    """
    hint = "Write one whole JSON object on each line."
    try:
        value = json.loads(line.text)
    except json.JSONDecodeError as error:
        refuse(line.where, f"is not a whole JSON object ({error.msg} at column {error.colno})", hint)
    except (ValueError, RecursionError):
        refuse(line.where, "is JSON that can't be read: nested too deeply, or a number of thousands of digits", hint)
    if not isinstance(value, dict):
        refuse(line.where, "is JSON, and not an object", hint)
    if "\\u" in line.text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            refuse(line.where, "holds half of a surrogate pair, which is no text", "Write whole characters.")
    return value


def is_text(value: object) -> bool:
    """Whether it is a string with something in it."""
    return isinstance(value, str) and bool(value.strip())


def text_of(line: Line, fields: Mapping[str, Any], name: str) -> str:
    """A field that must hold text.

    Raises:
        InvalidRequestError: BAD_FILE.
    """
    value = fields.get(name)
    if not isinstance(value, str):
        refuse(line.where, f"has a {name} that is not a string", f"Write {name} as text.")
    if not value.strip():
        refuse(line.where, f"has an empty {name}", f"Give {name} some text, or leave the line out.")
    return value


def messages_of(line: Line, name: str, value: object) -> Sequence[Message]:
    """A conversation, from its messages or from the text of a single one.

    Raises:
        InvalidRequestError: BAD_FILE.
    """
    if isinstance(value, str):
        if not value.strip():
            refuse(line.where, f"has an empty {name}", f"Give {name} some text, or leave the line out.")
        return ({"role": "user", "content": value},)
    if value == []:
        refuse(line.where, f"has an empty {name}", f"Give {name} a message, or leave the line out.")
    if not isinstance(value, list) or not all(map(_is_message, value)):
        hint = "A message is an object with a role and a content, as OpenAI has them."
        refuse(line.where, f"has a {name} that is neither text nor a list of messages", hint)
    return tuple(value)


def last_words(messages: Sequence[Message]) -> str:
    """What people would say was asked: the last message, with the count of those before it."""
    content = messages[-1].get("content")
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return text if len(messages) == 1 else f"[{len(messages) - 1} earlier] {text}"


def refuse(where: str, complaint: str, hint: str) -> NoReturn:
    """Raise for a file, or for one of its lines."""
    raise InvalidRequestError(f"{where} {complaint}.", reason="BAD_FILE", hint=hint, metadata={"where": where})


def _is_message(value: object) -> bool:
    if not isinstance(value, dict) or not is_text(value.get("role")):
        return False
    content = value.get("content")
    if isinstance(content, list):
        return bool(content) and all(isinstance(part, dict) for part in content)
    return is_text(content) or (content is None and bool(value.get("tool_calls")))
