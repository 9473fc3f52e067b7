"""Files that the cost commands write: what would fail at the end fails before the work."""

from __future__ import annotations

from pathlib import Path

from semcache.errors import InvalidRequestError


def check_folder(file: Path) -> None:
    """Raise where the file has no folder to go to.

    Raises:
        InvalidRequestError: there is none.
    """
    if not file.parent.is_dir():
        raise InvalidRequestError(f"There is no folder {file.parent} for {file.name}.", hint="Make it first.")


def prepare_page(file: Path) -> None:
    """Raise where a page with charts can't be made.

    Raises:
        StartError: matplotlib isn't installed.
        InvalidRequestError: there is no folder for the page.
    """
    from semcache.reports import require_charts

    require_charts("--html")
    check_folder(file)


def write_page(file: Path, page: str) -> None:
    """Write a page; a name that isn't Unicode in the ledger becomes a question mark."""
    file.write_text(page, "utf-8", errors="replace")
