"""The shapes of records that hold a prompt, such as a program's export: one list, the best match first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semcache.evaluation.records.messages import is_empty, is_role, read_messages
from semcache.evaluation.records.objects import conversation_in, read_value
from semcache.evaluation.records.record import Record, record_of, refuse, skip
from semcache.evaluation.records.settings import instructed, settings_beside, settings_in

Body = Mapping[str, Any]
"""The fields of an OpenAI request: at least its messages."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One way in which records hold prompts.

    Attributes:
        name: what such a record is, in words.
        fields: plain names of the fields that a record of this shape has.
        read: returns the request's fields; raises EmptyRecordError if the record asks nothing.
    """

    name: str
    fields: frozenset[str]
    read: Callable[[Record], Body]


@dataclass(frozen=True, slots=True)
class Promptless:
    """One kind of record that a user may take for a prompt, and that holds none.

    Attributes:
        name: what a file of such records is, in words.
        fields: plain names of the fields that such a record has.
        hint: the way out.
    """

    name: str
    fields: frozenset[str]
    hint: str


def shape_of(record: Record) -> Shape | None:
    """Return the first shape whose fields a record has, filled rather than empty; None if it has no shape's."""
    fitting = [shape for shape in SHAPES if shape.fields <= record.fields.keys()]
    filled = (shape for shape in fitting if not any(is_empty(record.fields[field]) for field in shape.fields))
    return next(filled, fitting[0] if fitting else None)


def refuse_promptless(path: Path, record: Record) -> None:
    """Refuse a file whose first record is of a kind that holds no prompts.

    Raises:
        InvalidRequestError: BAD_FILE, with the kind's name.
    """
    for kind in _PROMPTLESS:
        if kind.fields <= record.fields.keys():
            refuse(f"{path}:1", f"begins {kind.name}, without prompts", kind.hint)


def refuse_turn(record: Record) -> None:
    """Refuse a record that is one message of a conversation: an assistant's message isn't a prompt.

    Raises:
        InvalidRequestError: BAD_FILE.
    """
    said = any(isinstance(record.fields.get(name), str) for name in _SAID)
    spoken = any(is_role(record.fields.get(name)) for name in _SPEAKERS)
    if said and spoken and not record.fields.keys() & _WHOLE:
        refuse(record.where, "is one message of a conversation, not a prompt", _TURN_HINT)


def read_request(record: Record) -> Body:  # noqa: RET503 - `skip` never returns
    """Return the fields of the OpenAI request that a record holds.

    Raises:
        EmptyRecordError: the record asks nothing.
        InvalidRequestError: BAD_FILE: its prompt can't be read.
    """
    shape = shape_of(record)
    if shape is not None:
        return shape.read(record)
    names = ", ".join(name[:40] for name in record.names[:8] if name) or "none"
    hint = f"{_HINT} A table names them in its first line."
    skip(record.where, f"has no prompt, text, q or messages, and its fields are {names}", hint)


def _text_in(name: str) -> Callable[[Record], Body]:
    """Return a reader of a field that holds a prompt, a conversation, or an object with one of them."""

    def read(record: Record) -> Body:
        value = record.fields[name]
        conversation = conversation_in(value) if isinstance(value, str) else None
        return _body(record, name, value if conversation is None else conversation)

    return read


def _conversation_in(name: str) -> Callable[[Record], Body]:
    """Return a reader of a field that holds a conversation or a request, which a table's cell writes as JSON."""

    def read(record: Record) -> Body:
        value = record.fields[name]
        is_json = isinstance(value, str) and not is_empty(value)
        return _body(record, name, read_value(record.where, name, value) if is_json else value)

    return read


def _request_in(name: str) -> Callable[[Record], Body]:
    """Return a reader of a field that holds a logged request, of which all fields are kept."""

    def read(record: Record) -> Body:
        value = record.fields[name]
        is_json = isinstance(value, str) and not is_empty(value)
        request = read_value(record.where, name, value) if is_json else value
        if not isinstance(request, dict) or all(is_empty(request.get(field)) for field in _ASKED):
            return _body(record, name, request)
        body = _whole(record.where, name, request)
        return {**settings_beside(record), **body, "messages": instructed(record, body["messages"])}

    return read


def _body(record: Record, name: str, value: Any) -> Body:
    if is_empty(value):
        skip(record.where, f"has no prompt, because its {name} is empty", _HINT)
    settings = settings_beside(record)
    if not isinstance(value, dict):
        return {**settings, "messages": instructed(record, read_messages(record.where, name, value))}
    inner = record_of(record.where, value)
    if shape_of(inner) is None:
        skip(record.where, f"has no prompt in {name}", _HINT)
    body = {"model": value.get("model"), **settings, **read_request(inner)}
    return {**body, "messages": instructed(record, body["messages"])}


def _whole(where: str, name: str, request: Mapping[str, Any]) -> Body:
    """Return a logged request whole, but for streaming: its tools and settings decide what may share an answer."""
    asked = next(request[field] for field in _ASKED if not is_empty(request.get(field)))
    messages = instructed(record_of(where, request), read_messages(where, name, asked))
    return {"model": request.get("model"), **settings_in(request), "messages": messages}


def _alpaca(record: Record) -> Body:
    parts = [record.fields.get(name) for name in ("instruction", "input", "context")]
    texts = [part for part in parts if isinstance(part, str) and part.strip()]
    messages = read_messages(record.where, "instruction", "\n\n".join(texts))
    return {**settings_beside(record), "messages": instructed(record, messages)}


def _batch(record: Record) -> Body:  # noqa: RET503 - `skip` never returns
    body, url = record.fields["body"], str(record.fields.get("url") or "")
    if url and not url.endswith(("/chat/completions", "/responses")):
        skip(record.where, f"is a request to {url[:60]}, and only chats can be replayed", "Leave the record out.")
    if isinstance(body, dict) and any(not is_empty(body.get(field)) for field in _ASKED):
        return _whole(record.where, "body", body)
    skip(record.where, "has a body without messages", _HINT)


def _spend_log(record: Record) -> Body:  # noqa: RET503 - `skip` never returns
    kind = str(record.fields.get("calltype") or "")
    if any(word in kind for word in _NOT_CHATS):
        skip(record.where, f"is a call of type {kind[:40]}, not a chat", "Leave the record out.")
    for name in ("messages", "proxyserverrequest"):
        if not is_empty(record.fields.get(name)):
            return _conversation_in(name)(record)
    hint = "Set general_settings.store_prompts_in_spend_logs to true in LiteLLM: it keeps no prompts by default."
    skip(record.where, "is a line of LiteLLM's spend log without its messages", hint)


def _response_request(record: Record) -> Body:
    """Return the request of a record whose `text` is a prompt, or the format of the answer to its `input`."""
    return _text_in("input" if isinstance(record.fields["text"], dict) else "text")(record)


def _observation(record: Record) -> Body:
    kind = record.fields["type"]
    if isinstance(kind, str) and kind.upper() != "GENERATION":
        hint = "Export the observations of type GENERATION: they are the calls of models."
        skip(record.where, f"is an observation of type {kind[:20]}, not a call of a model", hint)
    return _text_in("input")(record)


_ASKED = ("messages", "input")
"""Fields of a request that hold what is asked, in OpenAI's two APIs for chats."""
_NOT_CHATS = ("embedding", "image", "speech", "transcription", "rerank", "moderation")
"""Parts of LiteLLM's call types whose requests can't be replayed."""
_HINT = "A prompt stands in prompt, text, q, question, query, instruction, input, messages or conversations."
_TURN_HINT = 'Write one conversation on each line: {"messages": [{"role": "user", "content": "…"}]}.'
_SPEAKERS = ("role", "from", "speaker", "sender", "author", "authorrole", "messagerole")
_SAID = ("text", "content", "value", "message", "body", "utterance")
"""Plain names of who speaks and of what is said, in files of one message a line."""
_WHOLE = frozenset({"messages", "conversation", "conversations", "prompt", "question", "query", "q", "instruction"})
"""Plain names of fields beside which a role says nothing about what is asked."""
SHAPES = (
    Shape("an OpenAI batch", frozenset({"customid", "body"}), _batch),
    Shape("an Anthropic batch", frozenset({"customid", "params"}), _request_in("params")),
    Shape("a LiteLLM spend log", frozenset({"requestid", "spend", "starttime"}), _spend_log),
    Shape("an export of Langfuse", frozenset({"traceid", "type", "input"}), _observation),
    Shape("requests of OpenAI's Responses", frozenset({"model", "input", "text"}), _response_request),
    Shape("conversations", frozenset({"messages"}), _conversation_in("messages")),
    Shape("conversations of ShareGPT", frozenset({"conversations"}), _conversation_in("conversations")),
    Shape("conversations", frozenset({"conversation"}), _conversation_in("conversation")),
    Shape("instructions of Alpaca", frozenset({"instruction"}), _alpaca),
    Shape("prompts", frozenset({"prompt"}), _text_in("prompt")),
    Shape("prompts", frozenset({"text"}), _text_in("text")),
    Shape("prompts", frozenset({"q"}), _text_in("q")),
    Shape("questions", frozenset({"question"}), _text_in("question")),
    Shape("queries", frozenset({"query"}), _text_in("query")),
    Shape("inputs of a log", frozenset({"input"}), _text_in("input")),
    Shape("requests of a log", frozenset({"requestbody"}), _request_in("requestbody")),
    Shape("requests of a log", frozenset({"request"}), _request_in("request")),
    Shape("requests of a log", frozenset({"body"}), _request_in("body")),
)
_PROMPTLESS = (
    Promptless(
        "a trace of arrival times and token counts",
        frozenset({"timestamp", "contexttokens", "generatedtokens"}),
        "Name a file with prompts or labels; the times of prompts may stand in it as `at`.",
    ),
    Promptless(
        "an export of usage",
        frozenset({"nummodelrequests", "inputtokens"}),
        "Name a log of requests with their messages.",
    ),
    Promptless(
        "the results of an OpenAI batch",
        frozenset({"customid", "response"}),
        "Name the batch's input file.",
    ),
    Promptless(
        "a conversation of one message a line",
        frozenset({"role", "content"}),
        _TURN_HINT,
    ),
)
HEADERS = (*(kind.fields for kind in _PROMPTLESS), *(shape.fields for shape in SHAPES))
"""Sets of plain column names, each enough to know a table of prompts, or of a kind without prompts, by."""
