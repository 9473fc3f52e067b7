"""Reads the counts of a completion's usage, whichever provider wrote it, each count by itself.

OpenAI's names come first; other providers have names and places of their own, and some count reasoning or cached
input beside the totals. A count that is impossible is left out, and the usage is flagged as estimated: the caller
estimates the counts that are 0.

References: the `usage` of https://platform.openai.com/docs/api-reference/chat/object, and the API references of
Anthropic, DeepSeek, Gemini, Moonshot, Perplexity and xAI.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from semcache.model import Usage, standard_or

MAX_TOKENS = 10**12
"""A larger count can't be true, and its price would not fit into 64 bits of nanodollars."""

_Counts = Mapping[str, Any]
_INPUT = ("prompt_tokens", "input_tokens", "promptTokens", "inputTokens", "promptTokenCount", "prompt_token_count")
_OUTPUT = (
    "completion_tokens",
    "output_tokens",
    "completionTokens",
    "outputTokens",
    "candidatesTokenCount",
    "candidates_token_count",
)
_TOTAL = ("total_tokens", "totalTokens", "totalTokenCount", "total_token_count")
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")
_THOUGHTS = ("thoughtsTokenCount", "thoughts_token_count")
_CACHED_IN_DETAILS = ("cached_tokens", "cache_read_tokens", "cache_read_input_tokens", "cache_read")
_CACHED = (
    "cached_tokens",  # Moonshot (Kimi)
    "prompt_cache_hit_tokens",  # DeepSeek
    "cached_prompt_text_tokens",  # xAI
    "cache_read_input_tokens",  # Anthropic
    "cacheReadInputTokens",  # Bedrock
    "cachedContentTokenCount",  # Gemini
    "cached_content_token_count",
)
_COUNTED_BESIDE = (
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cacheReadInputTokens",
    "cacheWriteInputTokens",
)
"""Anthropic's and Bedrock's counts of cached input. They aren't part of `input_tokens`, unlike other providers'; a
router that passes them on beside `prompt_tokens` counts them there too."""
_WRITTEN_IN_DETAILS = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
_WRITTEN = ("cache_creation_input_tokens", "cacheWriteInputTokens")
_KINDS = ("audio", "image", "video")
_TOOL_CALLS = {
    "web_searches": ("web_search_requests", "num_search_queries", "web_search_calls"),
    "social_searches": ("x_search_calls",),
    "storage_searches": ("file_search_calls", "document_search_calls"),
    "code_executions": ("code_execution_requests", "code_interpreter_calls"),
    "search_sources": ("num_sources_used",),
}
"""Parts of a usage that are calls of the provider's own tools, by the names that providers have for them."""
_TOOL_TABLES = ("server_tool_use", "server_side_tool_usage_details")


def completion_usage(completion: Mapping[str, Any]) -> Usage:
    """Return the usage of a `chat.completion`, with the tier that served it.

    A message that cites web pages where no count of searches is reported counts as one search, flagged as estimated.
    """
    usage = read_usage(find_usage(completion))
    tier = completion.get("service_tier")
    if isinstance(tier, str) and tier:
        usage = usage._replace(service_tier=standard_or(tier))
    if _cites_pages(completion) and not any(name in _TOOL_CALLS for name, _ in usage.parts):
        usage = usage._replace(parts=tuple(sorted((*usage.parts, ("web_searches", 1)))), estimated=True)
    return usage


def find_usage(completion: Mapping[str, Any]) -> _Counts | None:
    """Return the usage object of a completion or a chunk: its own, Groq's, or that of its choices; None for none."""
    groq = completion.get("x_groq")
    places = (
        completion.get("usage"),
        groq.get("usage") if isinstance(groq, dict) else None,
        completion.get("usageMetadata"),
    )
    for usage in places:
        if isinstance(usage, dict) and usage:
            return usage
    usages = list(_in_choices(completion.get("choices")))
    if len(usages) < 2:
        return usages[0] if usages else None
    # Each choice has the same prompt and an output of its own; a sum of both would count the prompt more than once.
    outputs = [_possible(usage, _OUTPUT)[0] or 0 for usage in usages]
    whole = {name: value for name, value in usages[0].items() if name not in {*_OUTPUT, *_TOTAL, *_OUTPUT_DETAILS}}
    return {**whole, _OUTPUT[0]: sum(outputs)}


def joined_usage(earlier: _Counts | None, later: _Counts | None) -> _Counts | None:
    """Return what a stream has reported after two of its chunks: the later counts, and the earlier ones it lacks.

    A later count of 0 doesn't replace an earlier one: some providers end a stream with an empty usage.
    """
    if not earlier or not later:
        return later or earlier
    return {**earlier, **{name: value for name, value in later.items() if value or not earlier.get(name)}}


def read_usage(value: object) -> Usage:
    """Return the counts of a `usage` object.

    A count that is missing or impossible is 0, and the usage is flagged as estimated. Where the total exceeds input
    and output, the rest is what the details say: cached input or reasoning that stands beside them. Without details
    it is output.
    """
    if not isinstance(value, dict):
        return Usage(estimated=True)
    inputs, outputs = _details(value, _INPUT_DETAILS), _details(value, _OUTPUT_DETAILS)
    total = _possible(value, _TOTAL)[0]
    output_tokens, odd_output = _output(value, outputs)
    cached, odd_cached = _cached(value, inputs)
    written, odd_written = _written(value, inputs)
    input_tokens, odd_input = _input(value, total, output_tokens, cached, written)
    if output_tokens is not None and total is not None and input_tokens:
        output_tokens, contradicted = _with_reasoning(value, outputs, output_tokens, total - input_tokens)
    elif output_tokens is not None:
        output_tokens, contradicted = _with_reasoning(value, outputs, output_tokens, output_tokens)
    else:
        contradicted = False
        # A prompt and a total tell the output.
        output_tokens = total - input_tokens if total is not None and 0 < input_tokens < total else None
    unknown = not input_tokens or output_tokens is None
    estimated = unknown or odd_input or odd_output or odd_cached or odd_written or contradicted
    if cached > input_tokens:
        cached, estimated = 0, True
    if cached + written > input_tokens:
        written, estimated = 0, True
    citations = _possible(value, ("citation_tokens",))[0] or 0
    output_tokens = (output_tokens or 0) + citations
    tier = value.get("service_tier")
    usage = Usage(
        input_tokens,
        cached,
        output_tokens,
        estimated,
        written,
        standard_or(tier) if isinstance(tier, str) else "",
    )
    return _with_parts(usage, value, inputs, outputs)


def _input(value: _Counts, total: int | None, output: int | None, cached: int, written: int) -> tuple[int, bool]:
    """Return the whole input, with what was read from and written to the provider's cache; 0 where it isn't told."""
    prompt, odd = _possible(value, _INPUT)
    if not prompt:
        hits, misses = value.get("prompt_cache_hit_tokens"), _possible(value, ("prompt_cache_miss_tokens",))[0]
        if misses is not None and hits is not None:
            prompt = misses + cached
    by_anthropic = any(value.get(name) is not None for name in _COUNTED_BESIDE)
    beside = cached + written
    if beside and (prompt or by_anthropic):
        prompt = prompt or 0
        excess = None if total is None or output is None else total - prompt - output
        return prompt + (beside if _stands_beside(value, excess, beside, prompt) else 0), odd
    if not prompt and total is not None and output is not None and total > output:
        return total - output, odd
    return (prompt or 0) + (_possible(value, ("toolUsePromptTokenCount",))[0] or 0), odd


def _stands_beside(value: _Counts, excess: int | None, beside: int, prompt: int) -> bool:
    """Return whether the cached input isn't part of the prompt's count.

    Args:
        value: the usage.
        excess: the total less prompt and output; None where one of them isn't told.
        beside: tokens read from and written to the provider's cache.
        prompt: the prompt's count.
    """
    by_anthropic = any(value.get(name) is not None for name in _COUNTED_BESIDE)
    reasoning = _possible(_details(value, _OUTPUT_DETAILS), ("reasoning_tokens",))[0] or 0
    if reasoning and excess == reasoning:
        return False
    if excess in {beside, beside + reasoning}:
        return True
    if beside > prompt:
        return by_anthropic
    return excess not in {0, reasoning} and by_anthropic and value.get(_INPUT[0]) is None


def _output(value: _Counts, details: _Counts) -> tuple[int | None, bool]:
    """Return the output as it was told, with Gemini's thoughts; None where it isn't told."""
    output, odd = _possible(value, _OUTPUT)
    thoughts = _possible(value, _THOUGHTS)[0]
    if thoughts is not None:
        return (output or 0) + thoughts, odd
    if output is None and details:
        kinds = [_possible(details, (f"{kind}_tokens",))[0] or 0 for kind in ("text", "reasoning", *_KINDS)]
        return (sum(kinds), True) if any(kinds) else (None, odd)
    return output, odd


def _with_reasoning(value: _Counts, details: _Counts, output: int, rest: int) -> tuple[int, bool]:
    """Return the output with reasoning that stands beside it, and whether the numbers contradict each other.

    Args:
        value: the usage.
        details: the details of its output.
        output: the output as it was told.
        rest: the total less the input; the output itself where no total is told.
    """
    reasoning = _possible(details, ("reasoning_tokens",))[0] or _possible(value, ("reasoning_tokens",))[0] or 0
    if "num_search_queries" in value or "citation_tokens" in value:  # Perplexity's total has neither of them.
        return output + reasoning, False
    beside = rest - output
    if beside > 0 and (reasoning in {0, beside} or reasoning > output):
        return rest, reasoning not in {0, beside}
    if reasoning > output:  # It can't be part of a smaller output, whatever the total says.
        return output + reasoning, True
    return output, beside > 0


def _cached(value: _Counts, details: _Counts) -> tuple[int, bool]:
    counts = [_possible(details, _CACHED_IN_DETAILS), _possible(value, _CACHED)]
    return max(count or 0 for count, _ in counts), any(odd for _, odd in counts)


def _written(value: _Counts, details: _Counts) -> tuple[int, bool]:
    counts = [_possible(details, _WRITTEN_IN_DETAILS), _possible(value, _WRITTEN)]
    by_time = _details(value, ("cache_creation",))
    kept = [_possible(by_time, (f"ephemeral_{time}_input_tokens",))[0] or 0 for time in ("5m", "1h")]
    return max(sum(kept), *(count or 0 for count, _ in counts)), any(odd for _, odd in counts)


def _with_parts(usage: Usage, value: _Counts, inputs: _Counts, outputs: _Counts) -> Usage:
    """Return a usage with what may have a price of its own; it is estimated where such a count is impossible."""
    cached_kinds = _details(inputs, ("cached_tokens_details",))
    counts: dict[str, int] = {}
    odd = False

    def note(name: str, count: int | None, most: int) -> int:
        nonlocal odd
        if not count:
            return 0
        if count > most:
            odd = True
            return 0
        counts[name] = count
        return count

    for kind in _KINDS:
        names = (f"{kind}_tokens",)
        cached_count = note(f"cached_{kind}", _possible(cached_kinds, names)[0], usage.cached_input_tokens)
        whole = _possible(inputs, names)[0] or 0
        note(f"input_{kind}", max(0, whole - cached_count), usage.input_tokens)
        note(f"output_{kind}", _possible(outputs, names)[0], usage.output_tokens)
    long_kept = _possible(_details(value, ("cache_creation",)), ("ephemeral_1h_input_tokens",))[0]
    note("cache_write_1h", long_kept, usage.cache_write_tokens)
    # Perplexity prices reasoning and citations apart from the answer; other providers tell reasoning in the details.
    note("output_reasoning", _possible(value, ("reasoning_tokens",))[0], usage.output_tokens)
    note("output_citation", _possible(value, ("citation_tokens",))[0], usage.output_tokens)
    tables = (value, *(_details(value, (name,)) for name in _TOOL_TABLES))
    for part, tools in _TOOL_CALLS.items():
        note(part, max(_possible(table, tools)[0] or 0 for table in tables), MAX_TOKENS)
    return usage._replace(parts=tuple(sorted(counts.items())), estimated=usage.estimated or odd)


def _possible(counts: _Counts, names: Sequence[str]) -> tuple[int | None, bool]:
    """Return the largest count that is told under any of these names, and whether one was impossible.

    Several names for one count stand side by side in some usages, all but one of them 0.
    """
    told: list[int] = []
    odd = False
    for name in names:
        value = counts.get(name)
        if value is None:
            continue
        count = _count(value)
        if count is None:
            odd = True
            continue
        told.append(count)
        odd = odd or (isinstance(value, float) and count != value)
    return (max(told), odd) if told else (None, odd)


def _count(value: object) -> int | None:
    """Return a count of tokens; None for what can't be one. A part of a token is rounded up; a bool is no count."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and math.isfinite(value):
        value = math.ceil(value) if value >= 0 else -1
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def _details(counts: _Counts, names: Sequence[str]) -> _Counts:
    return next((counts[name] for name in names if isinstance(counts.get(name), dict)), {})


def _in_choices(choices: object) -> Iterator[_Counts]:
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            for place in (choice, choice.get("message"), choice.get("delta")):
                usage = place.get("usage") if isinstance(place, dict) else None
                if isinstance(usage, dict) and usage:
                    yield usage
                    break


def _cites_pages(completion: Mapping[str, Any]) -> bool:
    choices = completion.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        notes = message.get("annotations") if isinstance(message, dict) else None
        for note in notes if isinstance(notes, list) else ():
            if isinstance(note, dict) and note.get("type") == "url_citation":
                return True
    return False
