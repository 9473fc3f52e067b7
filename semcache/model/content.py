"""The content of a message: a text, or a list of parts."""

from __future__ import annotations

_TEXT_TYPES = frozenset({None, "text", "output_text"})
"""Types of parts whose `text` is the answer's. What a model thought, or refused with, isn't."""


def text_of(content: object) -> str:
    """Return the text of a message's content: a string, the text parts of a list, or one such part.

    Whatever else stands there has no text: null, numbers, media, and what a reasoning model thought.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_text_of_part(part) for part in content)
    return _text_of_part(content)


def _text_of_part(part: object) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return ""
    kind, text = part.get("type"), part.get("text")
    known = (kind is None or isinstance(kind, str)) and kind in _TEXT_TYPES
    return text if known and isinstance(text, str) else ""
