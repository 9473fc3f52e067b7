"""What the memo keeps of a chat completion over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from semcache.errors import OverLimitError
from semcache.long_work import LongWork
from semcache.request import RequestMemo
from semcache.request.memo import MAX_MESSAGE_BYTES
from semcache.server.auth import SOLE_CALLER
from semcache.server.http.call import HttpCall
from semcache.server.http.generation import Generation
from semcache.server.http.origins import Origins
from semcache.server.http.protocols import CHAT
from semcache.settings import HttpSettings, LimitSettings

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]}).encode()


class Refusing:
    """Takes the place of the cache: the call ends once it has been read."""

    async def complete(self, request: object) -> object:
        raise OverLimitError("no more")


@pytest.mark.parametrize(("ignored", "kept"), [("", 1), ("a", 1), ("a" * MAX_MESSAGE_BYTES, 0)])
async def test_headers_weigh_what_they_hold(ignored: str, kept: int) -> None:
    memo, cache = RequestMemo(), Refusing()
    chat = Generation(
        CHAT,
        cache=cache,  # type: ignore[arg-type]
        memo=memo,
        settings=HttpSettings(),
        limits=LimitSettings(),
        long_work=LongWork(),
    )
    headers = [(b"cache-control", f"max-age=5, x={ignored}".encode())] if ignored else []
    scope: dict[str, Any] = {"path": "/v1/chat/completions", "headers": headers}
    for _ in range(2):
        call = HttpCall(scope, print, lambda: "id", Origins(()))  # type: ignore[arg-type]
        call.body = BODY
        with pytest.raises(OverLimitError):
            await chat.answer(call, SOLE_CALLER)
    assert len(memo) == kept
    assert memo.size_bytes >= kept * len(BODY)
