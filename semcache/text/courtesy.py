"""Find the request between a polite beginning and a polite end, and write its compounds as one word."""

from __future__ import annotations

import re

from semcache.text.dates import FIGURE
from semcache.text.lexicon import is_english
from semcache.text.tables import lines

_PARTICLES = frozenset({"in", "up", "out", "off", "on", "down"})
_COMPOUNDS = frozenset(tuple(pair.split()) for line in lines("open_compounds") for pair in line.split("|"))
_BEGINNING = re.compile(
    rf"""
    ^[^\w{FIGURE}]*
    (?:
      (?:
        (?:hi|hiya|hello|hey|greetings|good\s(?:morning|afternoon|evening|day)|dear)\b
        (?:\s(?:there|team|all|everyone|folks|guys|support|sir|madam)\b)*
      | (?:sorry\sto\s(?:bother|trouble)\syou
        | (?:sorry[^\w{FIGURE}]+)?(?:a\s|just\sa\s|one\s)?(?:quick|silly|stupid|dumb|small)\s(?:question|one)
        |sorry(?=\s*[,!.:]))\b (?:[^\w{FIGURE}]+but\b)?
      | (?:ok|okay|so|yeah|yep|please|pls|plz|um+|uh+m?|er|erm|hmm+)\b
      | (?:and|but|well)\b(?=[^\w{FIGURE}]+(?:how|why|what|when|where|who|which|can|could|do|does|is|are)\b)
      )
      [^\w{FIGURE}]*
    )*
    (?:
      (?:
        (?:can|could|would|will)\s+(?:you|u)\s+(?:please\s+|pls\s+|kindly\s+)?
          (?:(?:tell|show|explain\s+to)\s+me\s+|help\s+me\s+(?:to\s+)?|let\s+me\s+know\s+)?
      | (?:please\s+|kindly\s+)?(?:tell\s+me|show\s+me|let\s+me\s+know|help\s+me(?:\s+to)?)\s+
      | i\s+(?:want|need|would\s+like|wanted)\s+to\s+know\s+
      | i'd\s+like\s+to\s+know\s+
      | (?:i\s+was\s+|i'm\s+|just\s+)wondering\b,?\s+
        (?:(?:if|whether)\s+you\s+(?:could|can)\s+(?:possibly\s+)?tell\s+me\s+)?
      | do\s+you\s+know\s+
      )
      (?:about\s+|if\s+|whether\s+)?
    )?
    (?!$)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_END = re.compile(
    r"""
    (?:^|[\s,.!?;:-])
    (?:(?:would|could|can|will)\syou|(?:many\s)?thanks|thank\s?you|thx|cheers|please|pls|plz)
    (?:\s(?:a\slot|a\sbunch|so\smuch|very\smuch|in\sadvance|again|for\s(?:your|the|any)\shelp))*$
    """,
    re.IGNORECASE | re.VERBOSE,
)
_FURTHER_QUESTION = re.compile(
    r"(?<=[.!?]\s)(?:and|but|so)\s(?=(?:how|why|what|when|where|who|which)\b)", re.IGNORECASE
)
_CLOSING_MARKS = " \t\r\n,.!?;:-"
_MAX_END = 80
"""Characters in which a polite end is searched."""


def strip_courtesy(text: str) -> str:
    """Return a text without its polite beginning and end; the text itself where nothing else would be left.

    An "and" that begins a further question is left out too: "Is it open? And why?".
    """
    text = _FURTHER_QUESTION.sub("", text)
    begun = _BEGINNING.match(text)
    request = text[begun.end() :] if begun else text
    while True:
        shorter = request.rstrip(_CLOSING_MARKS)
        end = _END.search(shorter, max(0, len(shorter) - _MAX_END))
        if end is None or not any(map(str.isalnum, shorter[: end.start()])):
            break
        request = shorter[: end.start()]
    return request if any(map(str.isalnum, request)) else text


def join_compounds(words: tuple[str, ...]) -> tuple[str, ...]:
    """Join words that people also write as one: "log in", "web site". Other compounds aren't joined.

    A verb and its particle are joined where the result is English. "green house" isn't "greenhouse", so that all other
    compounds come from a list.
    """
    joined: list[str] = []
    for word in words:
        folded = word.casefold()
        if joined and (
            (word in _PARTICLES and is_english(joined[-1].casefold() + word))
            or (joined[-1].casefold(), folded) in _COMPOUNDS
        ):
            joined[-1] += folded
        else:
            joined.append(word)
    return tuple(joined)
