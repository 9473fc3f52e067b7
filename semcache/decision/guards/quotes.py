"""Quoted strings: translate "good morning" isn't translate "good night".

Evidence: what stands in quotation marks is the object itself; no other wording of it is the same request (1.3 % of
PAWS's true pairs differ in one, by its punctuation). Quotation marks on one side only say little: they are left out.
"""

from __future__ import annotations

import re

from semcache.decision.guards.guard import passed, vetoed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.numbers import MAX_FIGURES
from semcache.text.texts import Text

_QUOTED = re.compile(
    r"\"([^\"\n]{1,200})\"|[“„]([^”“\n]{1,200})[”“]|«([^»\n]{1,200})»|「([^」\n]{1,200})」|『([^』\n]{1,200})』"
    r"|(?<!\w)'([^'\n]{2,200})'(?!\w)"
)


_MARKS = re.compile(r"[\"“„«「『]|(?<!\w)'")
"""Without one of these nothing is quoted: most prompts aren't searched any further."""


class QuotesGuard:
    """See the module."""

    name = "quotes"
    version = 1
    most = 0.0
    passes_equal = True

    def parse(self, text: Text) -> tuple[str, ...]:
        """What is quoted, folded, white space and closing punctuation evened out."""
        if text.is_prose or not _MARKS.search(text.plain):
            return ()
        found = (
            next(group for group in match.groups() if group) for match in _QUOTED.finditer(text.plain_with_backticks)
        )
        evened = (" ".join(quoted.casefold().split()).strip(" .,;:!?") for quoted in found)
        return tuple(quoted for quoted, _ in zip(evened, range(MAX_FIGURES), strict=False) if quoted)

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when each side quotes what the other doesn't."""
        asked, stored = pair.parses(self)
        asked_only, stored_only = _alone(asked, stored), _alone(stored, asked)
        if asked_only and stored_only:
            return vetoed(self.name, f"request quotes {asked_only[0]}, entry quotes {stored_only[0]}")
        return passed(self.name)


def _alone(ours: tuple[str, ...], others: tuple[str, ...]) -> list[str]:
    """What we quote and the other side doesn't, neither as a part nor within more."""
    return [one for one in ours if not any(one in other or other in one for other in others)]
