"""Tells a user of the records of a file that were left out."""

from __future__ import annotations

import typer

_SHOWN = 5
"""Sentences shown: enough to see what is wrong with a file, and few beside the result."""


class SkippedRecords:
    """Counts the records that were left out, and shows the first ones on standard error as they come."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, sentence: str) -> None:
        """Count a record, and show the sentence about it if it is one of the first."""
        self.count += 1
        if self.count <= _SHOWN:
            typer.echo(f"semcache: {sentence}", err=True)

    def finish(self) -> None:
        """Say how many more records were left out than were shown."""
        if self.count > _SHOWN:
            typer.echo(f"semcache: {self.count - _SHOWN:,} more records were left out.", err=True)
