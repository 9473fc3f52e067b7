"""Compare quotations: translate "good morning" isn't translate "good night".

Evidence: a quotation is itself the object of the request, so another quotation is another request. 1.3 % of PAWS's true
pairs differ in a quotation, by its punctuation (benchmarks/README.md). Quotation marks in one text only say little, so
they don't count.
"""

from __future__ import annotations

import re

from semcache.decision.guards.guard import passed, vetoed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.numbers import MAX_NUMBERS
from semcache.text.texts import Text

_QUOTED = re.compile(
    r"\"([^\"\n]{1,200})\"|[“„]([^”“\n]{1,200})[”“]|«([^»\n]{1,200})»|「([^」\n]{1,200})」|『([^』\n]{1,200})』"
    r"|(?<!\w)'([^'\n]{2,200})'(?!\w)"
)
_MARKS = re.compile(r"[\"“„«「『]|(?<!\w)'")
"""A text without any of these has no quotation. Most prompts have none, so they aren't searched further."""


def find_quotations(text: Text) -> tuple[str, ...]:
    """Return the quotations of a text in order, folded, as their letters and digits; a quoted sign as it is."""
    if text.is_prose or not _MARKS.search(text.plain):
        return ()
    quotations = (
        next(group for group in match.groups() if group) for match in _QUOTED.finditer(text.plain_with_backticks)
    )
    normalised = (" ".join(quotation.casefold().split()) for quotation in quotations)
    letters = ("".join(filter(_is_letter_or_blank, quotation)).strip() or quotation for quotation in normalised)
    return tuple(quotation for quotation, _ in zip(letters, range(MAX_NUMBERS), strict=False) if quotation)


def _is_letter_or_blank(sign: str) -> bool:
    return sign.isalnum() or sign == " "


class QuotesGuard:
    """Vetoes another quotation."""

    name = "quotes"
    feature = "quotes/2"
    max_lift = 0.0
    passes_equal = True

    def read(self, text: Text) -> tuple[str, ...]:
        """Return the quotations in order, by `find_quotations`."""
        return find_quotations(text)

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when each text has a quotation that the other lacks."""
        asked, stored = pair.features(self.feature)
        asked_only = [quotation for quotation in asked if quotation not in stored]
        stored_only = [quotation for quotation in stored if quotation not in asked]
        if asked_only and stored_only:
            return vetoed(self.name, f"request quotes {asked_only[0]}, entry quotes {stored_only[0]}")
        return passed(self.name)
