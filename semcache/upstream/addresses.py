"""The URLs of a target: of each protocol's path, and of a call that is passed on."""

from __future__ import annotations

from urllib.parse import unquote_plus

from semcache.model import ApiProtocol, PassedCall
from semcache.protocols import FORMS, AnswerForm


def endpoint(base_url: str, path: str) -> str:
    """Return the URL of a protocol: its path is appended to the base's path, and the base's query is kept.

    A base that ends with the path of some protocol may stand for that of any.
    """
    base, mark, query = base_url.partition("#")[0].partition("?")
    return _root(base) + path + mark + query


def passed_url(base_url: str, call: PassedCall) -> str:
    """Return the URL of a passed call: its path below the base's, its query behind the base's query.

    What the base's query names is the operator's: the caller can't name it again.
    """
    base, _, fixed = base_url.partition("#")[0].partition("?")
    root = _root(base)
    taken = {unquote_plus(part.partition("=")[0]) for part in fixed.split("&")}
    own = [part for part in call.query.split("&") if part and unquote_plus(part.partition("=")[0]) not in taken]
    query = "&".join(filter(None, (fixed, *own)))
    return f"{root}/{call.path}" + (f"?{query}" if query else "")


def _root(base: str) -> str:
    """Return a base URL without the path of a protocol at its end."""
    root = base.rstrip("/")
    for form in FORMS.values():
        root = root.removesuffix(form.path)
    return root


def form_of(call: PassedCall) -> AnswerForm:
    """Return the form of the protocol below whose path a passed call lies; that of chats where there is none."""
    below = (form for form in FORMS.values() if f"/{call.path}/".startswith(f"{form.path}/"))
    return next(below, FORMS[ApiProtocol.CHAT])
