"""Why an answer ended, in the words of many upstreams: few of them keep to OpenAI's four."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum

UNKNOWN_FINISH = "unknown_finish_reason"
"""The reason why an answer isn't stored that ended for a reason that `finish_of` doesn't know. The upstream's own word
follows it behind a colon."""

_MAX_WORD_CHARS = 64
_BETWEEN_WORDS = re.compile(r"[\s\-]+|(?<=[a-z])(?=[A-Z])")
_UNFIT = re.compile(r"[^\w.-]")


class Finish(StrEnum):
    """The kinds of finish reasons."""

    STOP = "stop"
    """The model ended by itself, or at a stop sequence of the caller."""
    LENGTH = "length"
    """The answer reached a limit of tokens, which may be the caller's own."""
    TOOL_CALLS = "tool_calls"
    """The model calls a tool."""
    FILTERED = "filtered"
    """A filter of the provider withheld the answer, or a part of it."""
    CUT_OFF = "cut_off"
    """The upstream gave up: an error, a limit of time, the end of the model's context."""
    UNSAID = "unsaid"
    """The upstream gave no reason."""
    UNKNOWN = "unknown"
    """The upstream gave a reason that semcache doesn't know."""


_WORDS: Mapping[Finish, str] = {
    # OpenAI; TGI, Together, watsonx and llama.cpp; Anthropic and Bedrock; Cohere, Gemini; Titan, AI21, Qianfan.
    Finish.STOP: "stop eos eos_token end end_turn stop_sequence stop_token complete completed finish finished "
    "endoftext end_of_text normal done [done] stopped stop_word stop_words stop_string stop_str stop_criteria "
    "eos_token_id end_of_turn </s> <eos> <|im_end|> <|eot_id|> <|endoftext|> <|end_of_text|> <|end|> <|return|> "
    "<end_of_turn> <\uff5cend\u2581of\u2581sentence\uff5c>",
    Finish.LENGTH: "length max_tokens max_output_tokens max_completion_tokens max_new_tokens max_length token_limit "
    "limit max_tokens_reached length_limit",
    Finish.TOOL_CALLS: "tool_calls tool_call tool_use function_call function_calls",
    Finish.FILTERED: "content_filter content_filtered filtered safety image_safety recitation blocklist "
    "prohibited_content spii language guardrail_intervened refusal sensitive error_toxic "
    "content_policy_violation moderation blocked",
    # Mistral's model_length is the end of the model's context, never the caller's limit. OpenAI's responses have a
    # status: queued, and failed; one that is incomplete mostly says why, as by max_messages or steered.
    Finish.CUT_OFF: "error model_length error_limit model_context_window_exceeded context_length_exceeded abort "
    "aborted cancelled canceled user_cancel timeout time_limit not_finished in_progress pause_turn compaction "
    "network_error insufficient_system_resource malformed_function_call unexpected_tool_call too_many_tool_calls other "
    "incomplete failed queued max_messages steered",
    # DashScope sends the word null until it ends.
    Finish.UNSAID: "null none unspecified",
}
_RUNNING = frozenset({"not_finished", "in_progress", "queued"})
"""Words of a stream that goes on."""
_BY_HARM = (Finish.STOP, Finish.TOOL_CALLS, Finish.LENGTH, Finish.UNKNOWN, Finish.CUT_OFF, Finish.FILTERED)
_KINDS: Mapping[str, Finish] = {word: kind for kind, words in _WORDS.items() for word in words.split()}


def finish_text(value: object) -> str:
    """Return a `finish_reason` of JSON as text; empty for null."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def finish_of(reason: str) -> Finish:
    """Return the kind of a finish reason.

    Case, hyphens and spaces don't matter, nor does the prefix FINISH_REASON_ of Google's API. EndTurn is end_turn.
    """
    word = _word(reason)
    return _KINDS.get(word, Finish.UNKNOWN) if word else Finish.UNSAID


def worse_finish(earlier: str, later: str) -> str:
    """Return the worse of two finish reasons of one answer: the one that says more against storing it.

    The later one where both are of one kind. A reason that isn't said never counts, nor does a word such as
    not_finished in a stream that went on.
    """
    if finish_of(later) is Finish.UNSAID:
        return earlier
    if finish_of(earlier) is Finish.UNSAID or _word(earlier) in _RUNNING:
        return later
    if _word(later) in _RUNNING:
        return earlier
    return max(later, earlier, key=lambda reason: _BY_HARM.index(finish_of(reason)))


def _word(reason: str) -> str:
    return _BETWEEN_WORDS.sub("_", reason[:_MAX_WORD_CHARS].strip()).casefold().removeprefix("finish_reason_")


def unknown_finish(reason: str) -> str:
    """Return the reason why an answer isn't stored, with the upstream's own word."""
    return f"{UNKNOWN_FINISH}:{_UNFIT.sub('_', reason[:_MAX_WORD_CHARS].strip())}"
