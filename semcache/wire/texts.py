"""Texts as messages carry them: whatever is stored can be told, though UTF-8, and so protobuf, can't hold all of it."""

from __future__ import annotations

from threading import Lock

from semcache.errors import InvalidRequestError


class _Counter:
    """Counts; thread-safe. Its one instance is the process's, since translation is made of functions alone."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = Lock()

    def add(self) -> None:
        """Count one."""
        with self._lock:
            self.value += 1


_replaced = _Counter()


def utf8(text: str) -> str:
    """Return `text` with `?` for each lone surrogate. Such a text is counted (`replaced_texts`).

    JSON may escape half of a surrogate pair, and rows of earlier versions hold some.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        _replaced.add()
        return text.encode("utf-8", "replace").decode()
    return text


def replaced_texts() -> int:
    """Return how many texts this process has told with a replaced character."""
    return _replaced.value


def check_text(text: str, field: str) -> str:
    """Return `text` if UTF-8 can hold it.

    Raises:
        InvalidRequestError: INVALID_TEXT, with the field's name.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"{field} holds half of a surrogate pair, which is no Unicode text.",
            reason="INVALID_TEXT",
            hint="Escape both halves of each pair, or send UTF-8.",
            metadata={"field": field},
        ) from error
    return text
