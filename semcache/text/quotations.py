"""Find the quotations in a text."""

from __future__ import annotations

import re

from semcache.text.numbers import MAX_NUMBERS

_QUOTED = re.compile(
    r"\"([^\"\n]{1,200})\"|[“„]([^”“\n]{1,200})[”“]|«([^»\n]{1,200})»|「([^」\n]{1,200})」|『([^』\n]{1,200})』"
    r"|(?<!\w)'([^'\n]{2,200})'(?!\w)"
)
_MARKS = re.compile(r"[\"“„«「『]|(?<!\w)'")
"""A text without any of these has no quotation. Most prompts have none, so they aren't searched further."""


def find_quotations(plain: str, plain_with_backticks: str) -> tuple[str, ...]:
    """Return the quotations of a text in order, folded, as their letters and digits; a quoted sign as it is.

    Args:
        plain: the normalised text, with apostrophes for backticks.
        plain_with_backticks: the normalised text.
    """
    if not _MARKS.search(plain):
        return ()
    quotations = (next(group for group in match.groups() if group) for match in _QUOTED.finditer(plain_with_backticks))
    normalised = (" ".join(quotation.casefold().split()) for quotation in quotations)
    letters = ("".join(filter(_is_letter_or_blank, quotation)).strip() or quotation for quotation in normalised)
    return tuple(quotation for quotation, _ in zip(letters, range(MAX_NUMBERS), strict=False) if quotation)


def _is_letter_or_blank(sign: str) -> bool:
    return sign.isalnum() or sign == " "
