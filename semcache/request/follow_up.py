"""Tell whether a message asks for the same as the message before it, of another thing: "and in Paris?", "again".

Such a message has nothing of its own to ask, so its answer is as repeatable as that of the message before it.
"""

from __future__ import annotations

import re

from semcache.request.wordings import load_table

_MAX_CHARS = 60
_MAX_WORDS = 7
"""Words of a message with a wording that points back: beyond, it asks for something of its own."""
_BARE_WORDS = 3
"""Words of a message that needs no such wording: "ethereum?", "New York"."""
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_DENSE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
"""Letters of the languages that put no space between words."""
_DENSE_CHARS = 14
_BARE_DENSE_CHARS = 5


def follows_up(text: str) -> bool:
    """Return whether a text by `fold` is short and asks for nothing of its own."""
    if len(text) > _MAX_CHARS:
        return False
    words, dense = len(_WORD.findall(text)), len(_DENSE.findall(text))
    if not words or words > _MAX_WORDS or dense > _DENSE_CHARS or load_table("own_request").search(text):
        return False
    if words <= _BARE_WORDS and dense <= _BARE_DENSE_CHARS:
        return True
    return bool(load_table("follow_up").search(text))


def points_back(text: str) -> bool:
    """Return whether a text by `fold` is short and means nothing without an earlier turn, though it names a thing."""
    return len(text) <= _MAX_CHARS and bool(load_table("points_back").search(text.strip()))
