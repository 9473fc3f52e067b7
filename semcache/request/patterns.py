"""Search callers' texts for an operator's patterns, all at once, in time that is linear in the length of the text.

RE2 is used rather than Python's `re`: a text of a million characters takes milliseconds instead of a second, and no
text of a caller can make a pattern run without end. `semcache.settings` has checked the syntax of each pattern.
"""

from __future__ import annotations

from collections.abc import Sequence

import re2

from semcache.errors import SettingsError

DEFAULT_MEMORY_BYTES = 8 * 1024 * 1024
"""RE2's own limit of the memory for one list of patterns."""


class Patterns:
    """A list of patterns that are searched together.

    Args:
        patterns: the patterns.
        case_sensitive: whether case counts.
        memory_bytes: the limit of RE2's memory for them.

    Raises:
        SettingsError: the patterns together need more memory than RE2 allows.
    """

    def __init__(
        self, patterns: Sequence[str], *, case_sensitive: bool = False, memory_bytes: int = DEFAULT_MEMORY_BYTES
    ) -> None:
        self._set = None
        if patterns:
            options = re2.Options()
            options.case_sensitive = case_sensitive
            options.max_mem = memory_bytes
            self._set = re2.Set.SearchSet(options)
            for pattern in patterns:
                self._set.Add(pattern)
            try:
                self._set.Compile()
            except re2.error as error:
                problem = (
                    "each pattern of the list is valid, but together they need more memory than RE2 allows: "
                    "write fewer or simpler patterns"
                )
                raise SettingsError([problem]) from error

    def find(self, text: str) -> Sequence[int]:
        """Return the positions in the list of the patterns that match anywhere in `text`, in order."""
        return () if self._set is None else sorted(self._set.Match(text) or ())
