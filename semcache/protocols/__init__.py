"""The wire of each protocol: how its calls are sent, its answers read, put together from a stream, and replayed.

- `form.py` says what a protocol has to say; `chat.py`, `embeddings.py`, `messages/` and `responses/` say it.
- For chats: `body` edits a request, `wire` reads an answer and replays it, `assembly` with `content` and `tool_calls`
  puts a stream together. For all: `sse` splits a stream into events, `usage` and `counts` read what was charged, `lost`
  and `generated` what came of answers that can't be used.
- No module waits or changes state beyond its own objects, so any thread may use them. Nothing is remembered.
"""

from __future__ import annotations

from collections.abc import Mapping

from semcache.model import ApiProtocol
from semcache.protocols import chat, embeddings, messages, responses
from semcache.protocols.body import edit_body, without_field
from semcache.protocols.form import AnswerForm, Replay, StreamAssembler
from semcache.protocols.wire import read_answer, replay_chunks

FORMS: Mapping[ApiProtocol, AnswerForm] = {
    ApiProtocol.CHAT: chat.FORM,
    ApiProtocol.EMBEDDINGS: embeddings.FORM,
    ApiProtocol.MESSAGES: messages.FORM,
    ApiProtocol.RESPONSES: responses.FORM,
}
"""The form of each protocol."""

__all__ = [
    "FORMS",
    "AnswerForm",
    "Replay",
    "StreamAssembler",
    "edit_body",
    "read_answer",
    "replay_chunks",
    "without_field",
]
