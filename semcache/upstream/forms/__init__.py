"""The forms of calls and answers: for each protocol how it is sent, read, put together from a stream, and replayed."""

from __future__ import annotations

from collections.abc import Mapping

from semcache.model import ApiProtocol
from semcache.upstream.forms import chat, embeddings
from semcache.upstream.forms.form import AnswerForm, Replay, StreamAssembler

FORMS: Mapping[ApiProtocol, AnswerForm] = {
    ApiProtocol.CHAT: chat.FORM,
    ApiProtocol.EMBEDDINGS: embeddings.FORM,
}

__all__ = ["FORMS", "AnswerForm", "Replay", "StreamAssembler"]
