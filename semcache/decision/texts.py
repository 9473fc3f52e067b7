"""A text as the guards see it: normalised and split into words once, whoever asks."""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property

_APOSTROPHES = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u00b4": "'", "`": "'", "\u2018": "'"})
# Han characters and kana stand one by one: their scripts put no space between words.
_WORDS = re.compile(
    r"[\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff\U00020000-\U0003ffff]|"
    r"[^\W_\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff\U00020000-\U0003ffff]+"
    r"(?:'[^\W_\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff\U00020000-\U0003ffff]+)*"
)


class Text:
    """One side of a comparison."""

    def __init__(self, raw: str) -> None:
        self.raw = raw

    @cached_property
    def plain(self) -> str:
        """NFKC (full-width digits and letters become plain ones), one kind of apostrophe; case kept."""
        return unicodedata.normalize("NFKC", self.raw).translate(_APOSTROPHES)

    @cached_property
    def folded(self) -> str:
        """`plain` without case."""
        return self.plain.casefold()

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of `folded` in order: runs of letters and digits, with inner apostrophes; Han and kana singly."""
        return tuple(_WORDS.findall(self.folded))
