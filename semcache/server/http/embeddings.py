"""`POST /v1/embeddings`: each input is a request of its own in the cache, and those that miss are one upstream call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any

from semcache.errors import InvalidRequestError
from semcache.long_work import LongWork
from semcache.model import HIT_STATUSES, ApiProtocol, Cost, Request, Response, Status
from semcache.request import decode_json, inputs_of, is_long
from semcache.server import audit
from semcache.server.auth import Caller
from semcache.server.http.call import HttpCall
from semcache.settings import HttpSettings, LimitSettings
from semcache.story import SemanticCache
from semcache.wire.http_failures import JSON_TYPE, Headers
from semcache.wire.http_telling import FROM_ENTRIES, told_headers
from semcache.wire.http_wishes import WishHeaders, read_request, wish_headers

_AT_ONCE = 2_048
"""Inputs that are answered at once: the most that OpenAI takes in one call."""
_A_CALL = 128
"""Inputs of one upstream call. The answer of 3,072 dimensions as numbers, 75 kB an input, is then below
`limits.answer_bytes`."""


class Embeddings:
    """Answers calls for embeddings.

    Args:
        cache: what answers.
        settings: how answers of the cache are told.
        limits: of names and of the body.
        long_work: reads long bodies.
    """

    def __init__(
        self, cache: SemanticCache, settings: HttpSettings, limits: LimitSettings, long_work: LongWork
    ) -> None:
        self._cache = cache
        self._settings = settings
        self._limits = limits
        self._long_work = long_work

    async def answer(self, call: HttpCall, caller: Caller) -> None:
        """Answer one call. It fails if one of its inputs does; what the others have cost is kept.

        Raises:
            OverloadedError: the call is refused for load, and not every input is an exact hit.
        """
        read = partial(self._read, call.body, wish_headers(call.pairs), caller.tenant)
        requests = await self._long_work.run(caller.tenant, read) if is_long(call.body) else read()
        if call.refusal is not None:
            for request in requests:
                if not await self._cache.holds(request):
                    raise call.refusal
        responses: list[Response] = []
        for start in range(0, len(requests), _AT_ONCE):
            responses += await self._ask(requests[start : start + _AT_ONCE])
        for response in responses:
            audit.filled(caller, response)
        call.name(responses[0].request_id)
        join = partial(_joined, responses, zeroes=self._settings.hit_usage == "zero")
        body = await self._long_work.run(caller.tenant, join) if len(responses) > 1 else join()
        await call.reply(HTTPStatus.OK, [(b"content-type", JSON_TYPE), *_told(responses)], body)

    async def _ask(self, requests: Sequence[Request]) -> list[Response]:
        batch = self._cache.new_id() if len(requests) > 1 else ""
        named = [f"{batch}/{position // _A_CALL}" if batch else "" for position in range(len(requests))]
        asked = [
            self._cache.complete(replace(request, batch=name)) for request, name in zip(requests, named, strict=True)
        ]
        # All of them come to their end: what is stored of a call that fails answers the next one.
        ended = await asyncio.gather(*asked, return_exceptions=True)
        responses: list[Response] = []
        for response in ended:
            if isinstance(response, BaseException):
                raise response
            responses.append(response)
        return responses

    def _read(self, body: bytes, wishes: WishHeaders, tenant: str) -> list[Request]:
        """Return the request of each input."""
        decoded = decode_json(body, self._limits, "The request")
        fields = {name: value for name, value in decoded.items() if value is not None}
        if fields.get("stream"):
            raise InvalidRequestError(
                "Embeddings aren't streamed.", reason="INVALID_PARAMETER", metadata={"field": "stream"}
            )
        field = fields.pop("cache", None)
        beginning, inputs = inputs_of(fields)
        whole = read_request(wishes, field, tenant=tenant, body=b"", limits=self._limits)
        shape = replace(whole, protocol=ApiProtocol.EMBEDDINGS)
        return [replace(shape, body=b"%b%b}" % (beginning, _dump(each))) for each in inputs]


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _joined(responses: Sequence[Response], *, zeroes: bool) -> bytes:
    """Return the one answer to all inputs, in their order, with the usages added up."""
    data: list[dict[str, Any]] = []
    tokens = 0
    head: dict[str, Any] = {}
    for position, response in enumerate(responses):
        assert response.answer is not None
        own = json.loads(response.answer.body.decode("utf-8-sig"))
        data += [{**vector, "index": position} for vector in own["data"]]
        head = head or {name: value for name, value in own.items() if name not in {"data", "usage"}}
        if not (zeroes and response.status in FROM_ENTRIES):
            tokens += response.usage.input_tokens
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _dump({**head, "data": data, "usage": usage})


def _told(responses: Sequence[Response]) -> Headers:
    """Return the headers of a call: it is stale if one input is, and a hit if each is one. Amounts are added up."""
    if len(responses) == 1:
        return told_headers(responses[0])
    hits = sum(response.status in HIT_STATUSES for response in responses)
    stale = (response for response in responses if response.status is Status.STALE)
    asked = (response for response in responses if response.status not in HIT_STATUSES)
    whole = next(stale, None) or next(asked, responses[0])
    cost, saved = _sum([each.cost for each in responses]), _sum([each.saved for each in responses])
    return [
        *told_headers(whole._replace(entry_id=0, hit_id="", cost=cost, saved=saved)),
        (b"x-semcache-items", b"%d" % len(responses)),
        (b"x-semcache-item-hits", b"%d" % hits),
    ]


def _sum(costs: Sequence[Cost]) -> Cost:
    """Return the sum of costs, which is known if each of them is."""
    return Cost(sum(cost.total_nanousd for cost in costs), priced=all(cost.priced for cost in costs))
