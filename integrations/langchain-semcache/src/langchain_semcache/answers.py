"""Turn LangChain's generations into a chat completion that semcache stores, and back without a loss.

The completion's own fields are a summary for the server: the text, the tool calls, the reason of the end, the model and
the usage decide whether it stores the answer and what a hit saves. The generations themselves are in one more field, as
LangChain's JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.load import dumps, loads
from langchain_core.load.serializable import Serializable
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk
from pydantic import BaseModel

from langchain_semcache.requests import FIELD, VERSION

ALLOWED: Sequence[type[Serializable]] = (
    AIMessage,
    AIMessageChunk,
    ChatGeneration,
    ChatGenerationChunk,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    Generation,
    GenerationChunk,
    HumanMessage,
    HumanMessageChunk,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)
"""The only classes of which an object is made when an answer is read: they hold data, and do nothing."""

_RUN_PREFIXES = ("lc_run-", "run-")
"""Of the ids that LangChain gives; the second is that of releases before 1.0."""
_FINISH_NAMES = ("finish_reason", "stop_reason", "done_reason", "status")
_MODEL_NAMES = ("model_name", "model")


class UnstorableError(Exception):
    """Generations that LangChain's JSON can't restore as they were."""


class UnreadableError(Exception):
    """An answer that this package didn't write, or that this release of langchain-core can't read."""


def write_completion(generations: Sequence[Generation], model: str) -> bytes:
    """Return the chat completion that stands for generations.

    Args:
        generations: what the model answered; several where the call asked for several.
        model: the model to name where the generations name none.

    Raises:
        UnstorableError: reading the completion wouldn't give equal generations.
    """
    value = {
        "id": "langchain",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": next(_words(generations, _MODEL_NAMES), model),
        "choices": [{"index": 0, "message": _message(generations), "finish_reason": _finish_reason(generations)}],
        **_usage(generations),
        FIELD: {"version": VERSION, "generations": [_dump(generation) for generation in generations]},
    }
    return json.dumps(value, separators=(",", ":")).encode()


def read_generations(body: bytes) -> list[Generation]:
    """Return the generations for which a chat completion stands.

    Raises:
        UnreadableError: it stands for none, or they can't be restored.
    """
    try:
        own = json.loads(body)[FIELD]
        dumped, version = own["generations"], own["version"]
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableError("it holds no generations") from error
    if version != VERSION or not isinstance(dumped, list) or not dumped:
        raise UnreadableError("its generations have another format")
    return [_load(text) for text in dumped]


def _dump(generation: Generation) -> str:
    generation = _without_run(generation)
    try:
        text = dumps(generation)
        is_restored = _load(text) == _plain(generation)
    except UnreadableError as error:
        raise UnstorableError(str(error)) from None
    except (RecursionError, TypeError, ValueError) as error:  # Something refers to itself, or can't be compared.
        raise UnstorableError(f"LangChain can't write a generation ({type(error).__name__})") from None
    if not is_restored:
        raise UnstorableError(f"a {type(generation).__name__} has a value that LangChain's JSON changes")
    return text


def _load(text: object) -> Generation:
    try:
        loaded = loads(str(text), allowed_objects=ALLOWED, secrets_from_env=False)
    except Exception as error:  # noqa: BLE001 - constructors raise what they like; their words may quote the answer
        raise UnreadableError(f"LangChain can't restore a generation ({type(error).__name__})") from None
    if not isinstance(loaded, Generation):
        raise UnreadableError("it holds something else than a generation")
    return loaded


def _without_run(generation: Generation) -> Generation:
    """Return a generation without the id that LangChain gave its message: it names the call, not the answer.

    Two messages of one id are one message to LangGraph, so an answer that came twice in a conversation would replace
    the first. An id that the provider gave stays.
    """
    if not isinstance(generation, ChatGeneration) or not (generation.message.id or "").startswith(_RUN_PREFIXES):
        return generation
    return generation.model_copy(update={"message": generation.message.model_copy(update={"id": None})})


def _plain(generation: Generation) -> Generation:
    """Return a generation whose parsed object is a dictionary, as LangChain writes it and takes it back."""
    if not isinstance(generation, ChatGeneration):
        return generation
    parsed = generation.message.additional_kwargs.get("parsed")
    if not isinstance(parsed, BaseModel):
        return generation
    plain = generation.model_copy(deep=True)
    plain.message.additional_kwargs["parsed"] = parsed.model_dump()
    return plain


# -- the summary for the server


def _message(generations: Sequence[Generation]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": generations[0].text}
    calls = [call for chat in _messages(generations) for call in (*chat.tool_calls, *chat.invalid_tool_calls)]
    if calls:
        message["tool_calls"] = [
            {
                "id": call.get("id"),
                "type": "function",
                "function": {"name": call.get("name"), "arguments": json.dumps(call.get("args"), default=str)},
            }
            for call in calls
        ]
    elif any(chat.additional_kwargs.get("function_call") for chat in _messages(generations)):
        message["function_call"] = {"name": "", "arguments": ""}
    return message


def _finish_reason(generations: Sequence[Generation]) -> str | None:
    """Return why the answers ended. Several reasons make a word that the server doesn't know, so it stores nothing."""
    return " ".join(sorted(set(_words(generations, _FINISH_NAMES)))) or None


def _usage(generations: Sequence[Generation]) -> dict[str, Any]:
    """Return the counts of tokens that a provider reported; nothing where it reported none.

    Providers report one usage for all answers of a call, and LangChain notes it at each.
    """
    usage = next((chat.usage_metadata for chat in _messages(generations) if chat.usage_metadata), None)
    if usage is None:
        return {}
    details = usage.get("input_token_details") or {}
    counts = {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "prompt_tokens_details": {
            "cached_tokens": details.get("cache_read") or 0,
            "cache_write_tokens": details.get("cache_creation") or 0,
        },
    }
    return {"usage": counts}


def _words(generations: Sequence[Generation], names: Sequence[str]) -> Iterator[str]:
    """Yield, for each generation, the text of the first of these names that its metadata has."""
    for generation in generations:
        of_message = generation.message.response_metadata if isinstance(generation, ChatGeneration) else {}
        metadata: Mapping[str, Any] = {**of_message, **(generation.generation_info or {})}
        values = (metadata.get(name) for name in names)
        word = next((value for value in values if isinstance(value, str) and value), None)
        if word is not None:
            yield word


def _messages(generations: Sequence[Generation]) -> Iterator[AIMessage]:
    for generation in generations:
        if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage):
            yield generation.message
