"""The parts of every page: frame, drawings and tables. Nothing is loaded from elsewhere, and all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from semcache.reports.style import STYLE


def page(title: str, heading: str, about: str, body: Iterable[str]) -> str:
    """Return a whole page as HTML.

    Args:
        title: the window's title, text.
        heading: the page's heading, text.
        about: the line below the heading, text: what the page is about, and where its data comes from.
        body: the content, HTML.
    """
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>{escape(heading)}</h1>"
        f'<p class="from">{escape(about)}</p>{"".join(body)}</body></html>\n'
    )


def figure(caption: str, svg: str) -> str:
    """Return an SVG drawing under its caption, as HTML."""
    return f'<figure role="img" aria-label="{escape(caption)}"><figcaption>{escape(caption)}</figcaption>{svg}</figure>'


def table(heads: Iterable[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return a table as HTML.

    Args:
        heads: the column heads, text.
        rows: each is (attributes of the row's `tr` element as HTML, the cells as text).
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        f"<tr{attributes}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for attributes, cells in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def notes(texts: Iterable[str]) -> str:
    """Return a list of sentences as HTML."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"
