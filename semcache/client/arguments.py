"""The keyword arguments of the clients' calls: OpenAI's parameters, and the API's own names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypedDict

Seconds = timedelta | float
Mode = Literal["default", "bypass", "refresh", "cache_only", "exact_only"]
Grouping = Literal["hour", "day", "model", "task_type", "tenant"]


class OpenAIParameters(TypedDict, total=False):
    """Parameters of OpenAI's chat completion; a parameter that isn't given isn't sent."""

    temperature: float
    top_p: float
    max_tokens: int
    max_completion_tokens: int
    seed: int
    presence_penalty: float
    frequency_penalty: float
    n: int
    stop: str | Sequence[str]
    user: str
    logprobs: bool
    top_logprobs: int
    parallel_tool_calls: bool
    reasoning_effort: str
    tools: Sequence[Mapping[str, Any]]
    tool_choice: str | Mapping[str, Any]
    response_format: Mapping[str, Any]
    extra_body: Mapping[str, Any]
    """Fields of the body that have no argument of their own here."""


class PromptArguments(OpenAIParameters, total=False):
    """A prompt, and the scope in which its answer is shared.

    Exactly one of three forms is required:

    - `prompt`: the text of one user message; needs `model`.
    - `messages`: a conversation; needs `model`.
    - `openai_json`: a whole body, forwarded byte for byte; then no other field of the body may be given.
    """

    model: str
    prompt: str
    messages: Sequence[Mapping[str, Any]]
    openai_json: bytes
    namespace: str
    task_type: str
    template: str
    """The id of the template from which the last user message was made."""
    slots: Mapping[str, str]
    """The values that were filled into the template, by slot name."""
    knowledge_version: str


class LookupArguments(PromptArguments, total=False):
    """A prompt, and limits on the entries that may be served."""

    max_age: Seconds
    similarity_threshold: float
    """The least cosine of a semantic hit. The server's own threshold applies as well: the stricter one counts."""


class CompleteArguments(LookupArguments, total=False):
    """A prompt, limits on the entries that may be served, and how a new answer is to be stored."""

    mode: Mode
    ttl: Seconds
    no_store: bool
    tags: Iterable[str]
    sources: Iterable[str]


class StoreArguments(PromptArguments, total=False):
    """A prompt, and how its answer is to be stored."""

    answer: str | bytes | Mapping[str, Any]
    """The text, or the whole chat completion as JSON bytes or as a mapping. Required."""
    lookup_id: str
    """The lookup that missed. When no prompt is given, the lookup's own prompt is used."""
    lease_id: str
    served_model: str
    finish_reason: str
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    upstream_latency: Seconds
    ttl: Seconds
    tags: Iterable[str]
    sources: Iterable[str]
    embedding: Sequence[float]
    embedder_fingerprint: str
