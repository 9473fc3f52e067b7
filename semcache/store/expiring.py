"""One sweep as work in slices: what has ended is deleted, and what is kept beyond its end is taken out of searches."""

from __future__ import annotations

from semcache.observe.clock_watch import ClockWatch
from semcache.settings import StoreSettings
from semcache.store import layout
from semcache.store.commit_group import UNFINISHED
from semcache.store.transaction import WriteTransaction

SWEEP_ROWS = 256
"""Rows of each kind in one commit group of a sweep, so that a large sweep doesn't hold up a put."""
FIRST_ROW = layout.EXPIRES_ENTRY
"""Sorts before the rows of `expiry` of all entries."""


class Sweep:
    """Deletes what has ended: entries, served hits, rejections, old log lines.

    An entry ends `store.serve_stale_s` after it has expired. Between the two it has no vector, so that only its exact
    key leads to it. Nothing is deleted while the clock may be wrong (`ClockWatch`).

    Args:
        settings: how long each kind is kept.
        clock_watch: tells the time by which things may be deleted.
        row: the last row of `expiry` whose entry has lost its vector in an earlier sweep; `FIRST_ROW` for none.

    Attributes:
        row: the last row of `expiry` whose entry has lost its vector.
    """

    def __init__(self, settings: StoreSettings, clock_watch: ClockWatch, row: bytes) -> None:
        self._settings = settings
        self._clock_watch = clock_watch
        self.row = self._row_before = row

    def undo(self) -> None:
        """Go back to before the last slice, whose group could not be committed."""
        self.row = self._row_before

    def step(self, group: WriteTransaction) -> object:
        """Do one slice; return UNFINISHED, or None once no slice is left."""
        self._row_before = self.row
        now_s = self._clock_watch.settled_wall_s()
        if now_s is None:
            return None
        kept_s = self._settings.serve_stale_s
        handled = group.expire(now_s, SWEEP_ROWS, entries_until_s=now_s - kept_s)
        trimmed = group.trim_log(now_s - self._settings.log_ttl_s, SWEEP_ROWS)
        if kept_s:
            if self.row > FIRST_ROW + layout.pack_time(now_s):
                self.row = FIRST_ROW  # The clock was ahead when it was noted. What was put since then lies before it.
            for key in group.due(layout.EXPIRES_ENTRY, now_s, SWEEP_ROWS, first=self.row + b"\0"):
                group.withdraw(key)
                self.row = key
        more = handled >= SWEEP_ROWS or trimmed >= SWEEP_ROWS or self.row != self._row_before
        return UNFINISHED if more else None
