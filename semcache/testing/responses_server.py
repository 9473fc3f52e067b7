"""Replies of a scripted server (`ScriptedServer`) that speaks OpenAI's responses."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from semcache.protocols.responses.replay import replay_response
from semcache.testing.responses import input_text, response_body
from semcache.testing.upstream import DEFAULT_USAGE
from semcache.testing.upstream_server import Received, Reply, plain


def typed_events(events: Iterable[bytes], **rest: Any) -> Reply:
    """Return an event stream of typed events, each in a piece of its own; nothing follows the last one.

    Args:
        events: the JSON of each.
        rest: fields of `Reply`.
    """
    pieces = [f"event: {json.loads(event)['type']}\n".encode() + b"data: " + event + b"\n\n" for event in events]
    headers = {"content-type": "text/event-stream", **rest.pop("headers", {})}
    return Reply(headers=headers, pieces=tuple(pieces), chunked=True, **rest)


def echo_response(request: Received) -> Reply:
    """Return "Answer to: " and the prompt; plain or streamed, as the request asks."""
    text = f"Answer to: {input_text(request.json)}"
    body = response_body(text, model=str(request.json.get("model")), usage=DEFAULT_USAGE)
    return typed_events(replay_response(body)) if request.streams else plain(body)
