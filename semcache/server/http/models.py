"""`GET /v1/models` and `GET /v1/models/{model}`: the aliases that the routes serve, as its client's API lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from semcache.errors import InvalidRequestError, UnknownModelError
from semcache.server.auth import Caller
from semcache.server.http.call import HttpCall
from semcache.settings import UpstreamSettings
from semcache.wire.http_failures import JSON_TYPE
from semcache.wire.http_vendors import ANTHROPIC

_ANY = "*"
_PAGE = 20
"""Models of a page where Anthropic's client names no limit, as at Anthropic."""
_MAX_LIMIT = 1000
"""The most models that Anthropic gives in one page."""

_LIFECYCLE = "lifecycle"
_ACTIVE = "active"
"""Every alias that is served is active; a list of other models alone is empty."""
_UNKNOWN = ("capabilities", "deprecated_at", "line", "max_input_tokens", "max_tokens", "retires_at")
"""Fields of Anthropic's models that an alias has no value for: the models behind it may differ."""


class Models:
    """Lists the aliases that routes name. A route for any alias, `*`, has no name to list.

    Args:
        settings: the routes.
        created_s: wall-clock seconds that each model says it was created at: the server's start.
    """

    def __init__(self, settings: UpstreamSettings, created_s: float) -> None:
        self._any = not settings.routes or any(route.alias == _ANY for route in settings.routes)
        self._created_s = int(created_s)
        self._owners: dict[str, str] = {}
        for route in settings.routes:
            if route.alias != _ANY:
                self._owners.setdefault(route.alias, route.destinations[0].target)

    async def list(self, call: HttpCall, caller: Caller) -> None:
        """Answer with all of them; to Anthropic's clients with the page that they ask for.

        Raises:
            InvalidRequestError: INVALID_PARAMETER: of the page.
        """
        del caller
        if call.vendor is ANTHROPIC:
            await _reply(call, self._page(call.scope["query_string"]))
        else:
            models = [self._openai(alias, owner) for alias, owner in self._owners.items()]
            await _reply(call, {"object": "list", "data": models})

    async def one(self, call: HttpCall, caller: Caller) -> None:
        """Answer with one; where a route takes any alias, with every one.

        Raises:
            UnknownModelError: no route serves it.
        """
        del caller
        alias = call.scope["path_params"]["model"]
        owner = self._owners.get(alias, "semcache" if self._any else None)
        if owner is None:
            raise UnknownModelError(
                f"No route serves the model {alias[:200]!r}.", hint="GET /v1/models lists those that are served."
            )
        await _reply(call, self._anthropic(alias) if call.vendor is ANTHROPIC else self._openai(alias, owner))

    def _page(self, query: bytes) -> dict[str, Any]:
        """Return the page of Anthropic's list that a query asks for.

        `after_id` begins behind a model, `before_id` ends in front of one. `has_more` says whether there are others in
        the same direction.
        """
        asked = _asked(query)
        aliases = tuple(self._owners) if _ACTIVE in asked.get(_LIFECYCLE, _ACTIVE).split(",") else ()
        limit = _limit(asked)
        if "after_id" in asked and "before_id" in asked:
            raise _invalid("before_id", "after_id and before_id can't be asked for together.")
        if "before_id" in asked:
            end = _position(aliases, asked, "before_id")
            start = max(0, end - limit)
            has_more = start > 0
        else:
            start = _position(aliases, asked, "after_id") + 1 if "after_id" in asked else 0
            end = min(start + limit, len(aliases))
            has_more = end < len(aliases)
        page = aliases[start:end]
        return {
            "data": [self._anthropic(alias) for alias in page],
            "has_more": has_more,
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }

    def _openai(self, alias: str, owner: str) -> dict[str, Any]:
        return {"id": alias, "object": "model", "created": self._created_s, "owned_by": owner}

    def _anthropic(self, alias: str) -> dict[str, Any]:
        created = datetime.fromtimestamp(self._created_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        named = {"type": "model", "id": alias, "display_name": alias, "created_at": created, _LIFECYCLE: _ACTIVE}
        return {**named, **dict.fromkeys(_UNKNOWN)}


def _asked(query: bytes) -> dict[str, str]:
    """Return the parameters of a page that a query has; others mean nothing here."""
    parameters = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    lifecycles = [*parameters.get(_LIFECYCLE, ()), *parameters.get(f"{_LIFECYCLE}[]", ())]
    asked = {_LIFECYCLE: ",".join(lifecycles)} if lifecycles else {}
    for name in ("limit", "after_id", "before_id"):
        values = parameters.get(name, [])
        if len(values) > 1:
            raise _invalid(name, f"The query has {name} twice.")
        if values:
            asked[name] = values[0]
    return asked


def _position(aliases: Sequence[str], asked: Mapping[str, str], name: str) -> int:
    if asked[name] not in aliases:
        raise _invalid(name, f"{name} names {asked[name][:200]!r}, which isn't a model of the list.")
    return aliases.index(asked[name])


def _limit(asked: Mapping[str, str]) -> int:
    text = asked.get("limit", str(_PAGE))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_LIMIT)) and 1 <= int(text) <= _MAX_LIMIT):
        raise _invalid("limit", f"limit must be an integer from 1 to {_MAX_LIMIT}.")
    return int(text)


def _invalid(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason="INVALID_PARAMETER", metadata={"field": field})


async def _reply(call: HttpCall, value: object) -> None:
    await call.reply(HTTPStatus.OK, [(b"content-type", JSON_TYPE)], json.dumps(value).encode())
