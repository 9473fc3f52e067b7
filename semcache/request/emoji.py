"""Take the emoji out of the text that is compared by meaning, because most embedding models don't know them.

A model turns each unknown character into one token, so texts that differ only there have the same vector. Taken out,
an emoji costs a text nothing but is still told apart: it becomes part of what must be equal. Only an emoji that
decorates, such as a smile at the end, is left out altogether.
"""

from __future__ import annotations

import re

_PICTURES = r"\U0001f000-\U0001faff\u2600-\u27bf\u231a\u231b\u23e9-\u23fa\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55"
_JOINED = r"[\ufe0f\u200d\u20e3\U000e0020-\U000e007f]"
_EMOJI = re.compile(rf"[{_PICTURES}](?:{_JOINED}|[{_PICTURES}])*")
_DECORATIONS = "😀😃😄😁😆😅🙂😊😇😉☺😌🤗🤓😎🙃🙏👍👌👋🤝👏💪🙌❤♥💙💚💛🧡💜🖤💕💖✨🎉🎊🥳🚀⭐🌟💯🤔🧐"
_AFTER_DECORATIONS = "\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff \t\r\n"
"""What may follow a decoration: the sign that asks for its picture, the skin's tone, white space."""
_SPACES = re.compile(r"[^\S\n]{2,}")
_SPACE_BEFORE_END = re.compile(r" (?=[.!?,;])")
_ABOUT_SIGNS = re.compile(r"[:\"“”„«»「」]|emo|smil|icon|symbol|表情|絵文字|이모|смай|эмод", re.IGNORECASE)
"""Signs and words of texts in which an emoji at the end may be what the request is about."""


def split_emoji(text: str) -> tuple[str, list[str]]:
    """Return a text without emoji, and the emoji that change what it says, in order.

    The white space around an emoji becomes one blank. A text without emoji is returned as it is.
    """
    if text.isascii():
        return text, []
    if not _EMOJI.search(text):
        return text, []
    if not _ABOUT_SIGNS.search(text):
        text = text.rstrip(_DECORATIONS + _AFTER_DECORATIONS)
    plain = _SPACES.sub(" ", _EMOJI.sub(" ", text)).strip()
    return _SPACE_BEFORE_END.sub("", plain), _EMOJI.findall(text)
