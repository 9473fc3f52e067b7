"""`GET /v1/models` and `GET /v1/models/{model}`: the aliases that the routes serve."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from semcache.errors import UnknownModelError
from semcache.server.auth import Caller
from semcache.server.http.calls import HttpCall
from semcache.server.http.failures import JSON_TYPE
from semcache.settings import UpstreamSettings

_ANY = "*"


class Models:
    """Lists the aliases that routes name. A route for any alias, `*`, has no name to list.

    Args:
        settings: the routes.
        created_s: wall-clock seconds that each model says it was created at: the server's start.
    """

    def __init__(self, settings: UpstreamSettings, created_s: float) -> None:
        self._any = not settings.routes or any(route.alias == _ANY for route in settings.routes)
        self._models: dict[str, dict[str, Any]] = {}
        for route in settings.routes:
            if route.alias != _ANY and route.alias not in self._models:
                self._models[route.alias] = _model(route.alias, created_s, route.destinations[0].target)
        self._created_s = created_s

    async def list(self, call: HttpCall, caller: Caller) -> None:
        """Answer with all of them."""
        del caller
        await _reply(call, {"object": "list", "data": list(self._models.values())})

    async def one(self, call: HttpCall, caller: Caller) -> None:
        """Answer with one; where a route takes any alias, with every one.

        Raises:
            UnknownModelError: no route serves it.
        """
        del caller
        alias = call.scope["path_params"]["model"]
        model = self._models.get(alias)
        if model is None and self._any:
            model = _model(alias, self._created_s, "semcache")
        if model is None:
            raise UnknownModelError(
                f"No route serves the model {alias[:200]!r}.", hint="GET /v1/models lists those that are served."
            )
        await _reply(call, model)


def _model(alias: str, created_s: float, owner: str) -> dict[str, Any]:
    return {"id": alias, "object": "model", "created": int(created_s), "owned_by": owner}


async def _reply(call: HttpCall, value: object) -> None:
    await call.reply(HTTPStatus.OK, [(b"content-type", JSON_TYPE)], json.dumps(value).encode())
