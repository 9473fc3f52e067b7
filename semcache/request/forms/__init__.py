"""The forms of requests: for each protocol the table of its fields, and what its bodies say."""

from __future__ import annotations

from collections.abc import Mapping

from semcache.model import ApiProtocol
from semcache.request.forms import chat, embeddings, messages, responses
from semcache.request.forms.form import BodyForm, Demands, Wishes

FORMS: Mapping[ApiProtocol, BodyForm] = {
    ApiProtocol.CHAT: chat.FORM,
    ApiProtocol.EMBEDDINGS: embeddings.FORM,
    ApiProtocol.MESSAGES: messages.FORM,
    ApiProtocol.RESPONSES: responses.FORM,
}

__all__ = ["FORMS", "BodyForm", "Demands", "Wishes"]
