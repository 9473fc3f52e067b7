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


class QuotesGuard:
    """Vetoes another quotation."""

    name = "quotes"
    feature = "quotes/1"
    max_lift = 0.0
    passes_equal = True

    def read(self, text: Text) -> tuple[str, ...]:
        """Return the quotations in order, folded, without doubled blanks and without punctuation at their ends."""
        if text.is_prose or not _MARKS.search(text.plain):
            return ()
        quotations = (
            next(group for group in match.groups() if group) for match in _QUOTED.finditer(text.plain_with_backticks)
        )
        normalised = (" ".join(quotation.casefold().split()).strip(" .,;:!?") for quotation in quotations)
        return tuple(quotation for quotation, _ in zip(normalised, range(MAX_NUMBERS), strict=False) if quotation)

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when each text has a quotation that the other lacks."""
        asked, stored = pair.features(self.feature)
        asked_only, stored_only = _without_match(asked, stored), _without_match(stored, asked)
        if asked_only and stored_only:
            return vetoed(self.name, f"request quotes {asked_only[0]}, entry quotes {stored_only[0]}")
        return passed(self.name)


def _without_match(quotations: tuple[str, ...], others: tuple[str, ...]) -> list[str]:
    """Return the quotations that neither contain a quotation of the other text nor are contained in one."""
    return [quoted for quoted in quotations if not any(quoted in other or other in quoted for other in others)]
