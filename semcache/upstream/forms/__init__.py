"""The forms of calls and answers: for each protocol how it is sent, read, put together from a stream, and replayed."""

from __future__ import annotations

from collections.abc import Mapping

from semcache.model import ApiProtocol
from semcache.upstream.forms import chat, embeddings, messages, responses
from semcache.upstream.forms.form import AnswerForm, Replay, StreamAssembler

FORMS: Mapping[ApiProtocol, AnswerForm] = {
    ApiProtocol.CHAT: chat.FORM,
    ApiProtocol.EMBEDDINGS: embeddings.FORM,
    ApiProtocol.MESSAGES: messages.FORM,
    ApiProtocol.RESPONSES: responses.FORM,
}

__all__ = ["FORMS", "AnswerForm", "Replay", "StreamAssembler"]
