"""Find hidden characters: those that people and embedding models don't see, but that a language model reads.

With them a prompt that looks like another one can carry instructions (Unicode tags, private characters, marks that turn
the direction of the text, runs of characters of no width). A few characters of no width are common in pasted text.
"""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "["
    "\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f"  # control characters but for tab and line ends
    "\u115f\u1160\u3164\uffa0"  # fillers of Hangul
    "\u061c\u180e\u202a-\u202e\u2061-\u206f\ufff9-\ufffb"  # marks of direction and of notes, invisible operators
    "\ue000-\uf8ff\U000f0000-\U0010fffd"  # private use
    "\U000e0000-\U000e0fff"  # tags, and further variation selectors
    "]"
    "|[\ufe00-\ufe0f]{2}"  # a letter or an emoji has one variation selector
)
_NO_WIDTH = re.compile("[\u00ad\u200b\u2060\ufeff]|(?<=[\\x00-\u024f\u200c-\u200f])[\u200c-\u200f]")
"""Characters of no width. The joiners and direction marks of other scripts than Latin are part of their spelling."""
_MAX_NO_WIDTH = 2
"""Characters of no width that pasted text may have; a hidden message takes eight for each letter."""
_FLAG = re.compile("\U0001f3f4[\U000e0061-\U000e007a]{2,6}\U000e007f")
"""The flag of a part of a country, such as Scotland's, which is written with tags."""


def has_hidden_characters(text: str) -> bool:
    """Return whether a text has characters that nobody sees and that aren't common in pasted text."""
    if text.isascii() and text.isprintable():
        return False
    text = _FLAG.sub("", text)
    return _HIDDEN.search(text) is not None or len(_NO_WIDTH.findall(text)) > _MAX_NO_WIDTH
