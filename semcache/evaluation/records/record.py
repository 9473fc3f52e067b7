"""One record of a file, and the two ways to complain about one: refuse the file, or skip the record."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

from semcache.errors import InvalidRequestError

Parsed = TypeVar("Parsed")
_NOT_IN_NAME = re.compile(r"[\s_-]+")


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file.

    Attributes:
        where: the file and the line on which the record begins.
        fields: the values by plain name, as `plain` writes it.
        names: the names as the file writes them, for messages.
    """

    where: str
    fields: Mapping[str, Any]
    names: tuple[str, ...] = ()


class EmptyRecordError(InvalidRequestError):
    """A record that asks nothing, so that it can be skipped: the other records of its file may be whole."""

    default_reason = "BAD_FILE"


@lru_cache(maxsize=1024)
def plain(name: str) -> str:
    """Return a field's name in lower case without spaces, hyphens and underscores: `startTime` is `start_time`."""
    return _NOT_IN_NAME.sub("", name).casefold()


def record_of(where: str, value: Mapping[Any, Any]) -> Record:
    """Return the record of a mapping. Of two names that are alike, the first with a value counts."""
    fields: dict[str, Any] = {}
    for name, item in value.items():
        key = plain(str(name))
        if fields.get(key) is None:
            fields[key] = item
    return Record(where, fields, tuple(map(str, value)))


def name_of(value: Any) -> str | None:
    """Return the name of a cluster or a label, which may be a number; 1.0 is 1. None for any other value."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int) else None


def say_nothing(sentence: str) -> None:
    """Take the sentence about a record that was left out, for a caller that shows none."""


def refuse(where: str, problem: str, hint: str) -> NoReturn:
    """Raise BAD_FILE for a file or for one of its lines; `where` names it."""
    raise InvalidRequestError(f"{where} {problem}.", reason="BAD_FILE", hint=hint)


def skip(where: str, problem: str, hint: str) -> NoReturn:
    """Raise EmptyRecordError for a record that may be left out; `where` names it."""
    raise EmptyRecordError(f"{where} {problem}.", hint=hint)


def read_each(
    records: Iterable[Record], read: Callable[[Record], Parsed], on_skipped: Callable[[str], None]
) -> list[tuple[Record, Parsed]]:
    """Return each record with what `read` makes of it; leave out the records that ask nothing.

    Args:
        records: the records of a file.
        read: called for each record.
        on_skipped: called with a sentence for each record that was left out.

    Raises:
        EmptyRecordError: no record asks anything.
    """
    whole, empty = [], []
    for record in records:
        try:
            whole.append((record, read(record)))
        except EmptyRecordError as error:
            empty.append(error)
    if empty and not whole:
        raise empty[0]
    for refusal in empty:
        on_skipped(f"{refusal.message.removesuffix('.')}, so it is left out.")
    return whole
