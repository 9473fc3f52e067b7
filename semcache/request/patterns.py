"""An operator's patterns, held against callers' texts all at once and in time that grows with the text alone.

RE2 and not Python's own `re`: a text of a million characters takes milliseconds and not a second, and no pattern can
be made to run for ever by a text that a caller chose. `semcache.settings` has checked them.
"""

from __future__ import annotations

from collections.abc import Sequence

import re2

from semcache.errors import SettingsError


class Patterns:
    """Several patterns, searched case aside.

    Raises:
        SettingsError: there are too many of them.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._set = None
        if patterns:
            options = re2.Options()
            options.case_sensitive = False
            self._set = re2.Set.SearchSet(options)
            for pattern in patterns:
                self._set.Add(pattern)
            try:
                self._set.Compile()
            except re2.error as error:
                told = (
                    "the patterns of one list are each sound, and together more than RE2 holds: write fewer or simpler"
                )
                raise SettingsError([told]) from error

    def found(self, text: str) -> Sequence[int]:
        """The positions of the patterns that `text` has, in order."""
        return () if self._set is None else sorted(self._set.Match(text) or ())
