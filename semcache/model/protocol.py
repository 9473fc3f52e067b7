"""The APIs in whose shape a request may come."""

from __future__ import annotations

from enum import StrEnum

ProtocolHeaders = tuple[tuple[str, str], ...]
"""The headers of a call that belong to its protocol: names in lower case, and values."""


class ApiProtocol(StrEnum):
    """The API whose shape a request and its answer have. Requests of different ones never share an answer.

    CHAT, RESPONSES and EMBEDDINGS are OpenAI's. MESSAGES is Anthropic's.
    """

    CHAT = "chat"
    MESSAGES = "messages"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
