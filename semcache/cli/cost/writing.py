"""Writes the files of the cost commands; what would fail at the end is checked before the work."""

from __future__ import annotations

from pathlib import Path

from semcache.errors import InvalidRequestError


def check_folder(file: Path) -> None:
    """Raise if the folder of a file to write doesn't exist.

    Raises:
        InvalidRequestError: the folder doesn't exist.
    """
    if not file.parent.is_dir():
        raise InvalidRequestError(f"There is no folder {file.parent} for {file.name}.", hint="Create it first.")


def prepare_page(file: Path) -> None:
    """Raise if a page with charts can't be written.

    Raises:
        StartError: matplotlib isn't installed.
        InvalidRequestError: there is no folder for the page.
    """
    from semcache.reports import require_charts

    require_charts("--html")
    check_folder(file)


def write_page(file: Path, page: str) -> None:
    """Write a page; characters of names in the ledger that aren't Unicode become question marks."""
    file.write_text(page, "utf-8", errors="replace")
