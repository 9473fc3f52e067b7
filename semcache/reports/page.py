"""What every page is made of: its frame, figures and tables. Nothing is loaded from elsewhere, all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from semcache.reports.style import STYLE


def page(title: str, heading: str, about: str, body: Iterable[str]) -> str:
    """The whole page.

    Args:
        title: of the window, text.
        heading: of the page, text.
        about: what it is of and from where, text.
        body: what follows, HTML.
    """
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>{escape(heading)}</h1>"
        f'<p class="from">{escape(about)}</p>{"".join(body)}</body></html>\n'
    )


def figure(caption: str, svg: str) -> str:
    """A drawing under its caption."""
    return f'<figure role="img" aria-label="{escape(caption)}"><figcaption>{escape(caption)}</figcaption>{svg}</figure>'


def table(heads: Iterable[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """A table of texts; each row is (attributes of its `tr` as HTML, cells)."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        f"<tr{attributes}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for attributes, cells in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def notes(texts: Iterable[str]) -> str:
    """A list of sentences."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"
