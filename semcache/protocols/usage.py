"""Reads the counts of a completion's usage, whichever provider wrote it, each count by itself.

OpenAI's names come first; other providers have names and places of their own, and some count reasoning or cached
input beside the totals. A count that is impossible is left out, and the usage is flagged as estimated: the caller
estimates the counts that are 0.

References: the `usage` of https://platform.openai.com/docs/api-reference/chat/object, and the API references of
Anthropic, DeepSeek, Gemini, Moonshot, Perplexity and xAI.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from semcache.model import NANOUSD_PER_USD, Usage, standard_or
from semcache.protocols.counts import MAX_TOKENS, Counts, details, possible

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
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details", "promptTokensDetails")
_OUTPUT_DETAILS = (
    "completion_tokens_details",
    "output_tokens_details",
    "output_token_details",
    "candidatesTokensDetails",
    "candidates_tokens_details",
)
_CACHED_DETAILS = ("cacheTokensDetails", "cache_tokens_details")
_TOOLS_INPUT = ("toolUsePromptTokenCount", "tool_use_prompt_token_count")
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
_AUDIO_SECONDS = ("prompt_audio_seconds",)
_MAX_FEE_USD = 100
"""More than any provider's fee for a call."""
_SEARCH_CONTEXTS = ("low", "medium", "high")
_NO_TIER = frozenset({"", "global", "not_available", "unspecified", "traffic_type_unspecified"})
_TOOL_TABLES = ("server_tool_use", "server_side_tool_usage_details")


def completion_usage(completion: Mapping[str, Any]) -> Usage:
    """Return the usage of a `chat.completion`, with the tier that served it.

    A message that cites web pages where no count of searches is reported counts as one search, flagged as estimated.
    """
    found = find_usage(completion)
    usage = read_usage(found)._replace(service_tier=_tier(found or {}, completion.get("service_tier")))
    if isinstance(found, _OfChoices) and any(read_usage(each).estimated for each in found.by_index.values()):
        usage = usage._replace(estimated=True)
    if _cites_pages(completion) and not any(name in _TOOL_CALLS for name, _ in usage.parts):
        usage = usage._replace(parts=tuple(sorted((*usage.parts, ("web_searches", 1)))), estimated=True)
    return usage


def find_usage(completion: Mapping[str, Any]) -> Counts | None:
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
    by_index = dict(_in_choices(completion.get("choices")))
    return _OfChoices(by_index) if by_index else None


class _OfChoices(dict[str, Any]):
    """The usage of some choices together. It keeps each of them: a stream may tell them one by one."""

    def __init__(self, by_index: Mapping[object, Counts]) -> None:
        usages = list(by_index.values())
        super().__init__(usages[0] if len(usages) == 1 else _added_up(usages))
        self.by_index = by_index


def _added_up(usages: Sequence[Counts]) -> Counts:
    """Return one usage with the prompt, which all choices have in common, once, and the outputs of all.

    It has no output where that of a choice isn't told.
    """
    read = [read_usage(usage) for usage in usages]
    dropped = {*_OUTPUT, *_TOTAL, *_OUTPUT_DETAILS, *_THOUGHTS, "reasoning_tokens", "citation_tokens"}
    whole = {name: value for name, value in usages[0].items() if name not in dropped}
    if any(usage.estimated and not usage.output_tokens for usage in read):
        return whole
    output = sum(usage.output_tokens for usage in read)
    parts: dict[str, int] = {}
    for usage in usages:
        told = details(usage, _OUTPUT_DETAILS)
        for name in told:
            parts[name] = parts.get(name, 0) + (possible(told, (name,))[0] or 0)
    whole |= {_OUTPUT[0]: output, _OUTPUT_DETAILS[0]: parts}
    if possible(usages[0], _TOTAL)[0] is not None and read[0].input_tokens:
        whole[_TOTAL[0]] = read[0].input_tokens + output
    return whole


def joined_usage(earlier: Counts | None, later: Counts | None) -> Counts | None:
    """Return what a stream has reported after two of its chunks: the later counts, and the earlier ones it lacks.

    A later count of 0, in the details too, doesn't replace an earlier one: some providers end a stream with an empty
    usage. Usages of several choices are added up.
    """
    if not earlier or not later:
        return later or earlier
    if isinstance(later, _OfChoices):
        if isinstance(earlier, _OfChoices):
            newer = {index: joined_usage(earlier.by_index.get(index), usage) for index, usage in later.by_index.items()}
            return _OfChoices({**earlier.by_index, **{index: usage for index, usage in newer.items() if usage}})
        if read_usage(later).output_tokens < read_usage(earlier).output_tokens:  # That of all, and then one choice's.
            earlier, later = later, earlier
    return _joined(earlier, later)


def _joined(earlier: Counts, later: Counts) -> Counts:
    joined = dict(earlier)
    for name, value in later.items():
        before = earlier.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            joined[name] = _joined(before, value)
        elif value or not before:
            joined[name] = value
    return joined


def read_usage(value: object) -> Usage:
    """Return the counts of a `usage` object.

    A count that is missing or impossible is 0, and the usage is flagged as estimated. Where the total exceeds input
    and output, the rest is what the details say: cached input, audio or reasoning that stands beside them. Without
    details it is output.
    """
    if not isinstance(value, dict):
        return Usage(estimated=True)
    inputs, outputs = details(value, _INPUT_DETAILS), details(value, _OUTPUT_DETAILS)
    total = possible(value, _TOTAL)[0]
    output_tokens, odd_output = _output(value, outputs)
    cached, odd_cached = _cached(value, inputs)
    written, odd_written = _written(value, inputs)
    input_tokens, odd_input = _input(value, total, output_tokens, cached, written)
    if output_tokens is not None and total is not None and input_tokens:
        input_tokens += _input_beside(value, inputs, input_tokens, output_tokens, total - input_tokens - output_tokens)
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
    citations = possible(value, ("citation_tokens",))[0] or 0
    output_tokens = (output_tokens or 0) + citations
    usage = Usage(input_tokens, cached, output_tokens, estimated, written, _tier(value))
    return _with_parts(usage, value, inputs, outputs)


def _tier(value: Counts, served: object = None) -> str:
    """Return the tier that served a call, with all that changes the price of its tokens; empty for the standard one.

    Args:
        value: the usage.
        served: the tier that the completion names beside its usage.
    """
    google = details(details(value, ("extra_properties",)), ("google",))
    names = (
        served if isinstance(served, str) and served else value.get("service_tier") or value.get("serviceTier"),
        value.get("speed"),  # Anthropic
        google.get("traffic_type") or value.get("trafficType") or value.get("traffic_type"),  # Vertex AI
        value.get("inference_geo"),  # Anthropic
    )
    tiers = [standard_or(name).removeprefix("on_demand_") for name in names if isinstance(name, str)]
    return standard_or("+".join(dict.fromkeys(tier for tier in tiers if tier not in _NO_TIER)))


def _input(value: Counts, total: int | None, output: int | None, cached: int, written: int) -> tuple[int, bool]:
    """Return the whole input, with what was read from and written to the provider's cache; 0 where it isn't told."""
    prompt, odd = possible(value, _INPUT)
    if not prompt:
        hits, misses = value.get("prompt_cache_hit_tokens"), possible(value, ("prompt_cache_miss_tokens",))[0]
        if misses is not None and hits is not None:
            prompt = misses + cached
    if prompt:
        prompt += possible(value, _TOOLS_INPUT)[0] or 0
    by_anthropic = any(value.get(name) is not None for name in _COUNTED_BESIDE)
    beside = cached + written
    if beside and (prompt or by_anthropic):
        prompt = prompt or 0
        excess = None if total is None or output is None else total - prompt - output
        return prompt + (beside if _stands_beside(value, excess, beside, prompt) else 0), odd
    if not prompt and total is not None and output is not None and total > output:
        return total - output, odd
    return prompt or 0, odd


def _input_beside(value: Counts, inputs: Counts, prompt: int, output: int, rest: int) -> int:
    """Return audio and other input that isn't part of the prompt's count.

    Args:
        value: the usage.
        inputs: the details of its input.
        prompt: the input as it was told.
        output: the output as it was told.
        rest: the total less both.
    """
    reasoning = _reasoning(value, details(value, _OUTPUT_DETAILS))
    if rest <= 0 or rest == reasoning:
        return 0
    kinds = [possible(inputs, (f"{kind}_tokens",))[0] or 0 for kind in _KINDS]
    for count in (sum(kinds), *kinds):
        if count and rest in {count, count + reasoning}:
            return count
    if sum(kinds) > prompt or possible(value, _AUDIO_SECONDS)[0]:
        return max(0, rest - reasoning) if reasoning > output else rest
    return 0


def _reasoning(value: Counts, told: Counts) -> int:
    return possible(told, ("reasoning_tokens",))[0] or possible(value, ("reasoning_tokens",))[0] or 0


def _stands_beside(value: Counts, excess: int | None, beside: int, prompt: int) -> bool:
    """Return whether the cached input isn't part of the prompt's count.

    Args:
        value: the usage.
        excess: the total less prompt and output; None where one of them isn't told.
        beside: tokens read from and written to the provider's cache.
        prompt: the prompt's count.
    """
    by_anthropic = any(value.get(name) is not None for name in _COUNTED_BESIDE)
    reasoning = possible(details(value, _OUTPUT_DETAILS), ("reasoning_tokens",))[0] or 0
    if reasoning and excess == reasoning:
        return False
    if excess in {beside, beside + reasoning}:
        return True
    if beside > prompt:
        return by_anthropic
    return excess not in {0, reasoning} and by_anthropic and value.get(_INPUT[0]) is None


def _output(value: Counts, told: Counts) -> tuple[int | None, bool]:
    """Return the output as it was told, with Gemini's thoughts; None where it isn't told."""
    output, odd = possible(value, _OUTPUT)
    thoughts = possible(value, _THOUGHTS)[0]
    if thoughts is not None:
        return (output or 0) + thoughts, odd
    if output is None and told:
        kinds = [possible(told, (f"{kind}_tokens",))[0] or 0 for kind in ("text", "reasoning", *_KINDS)]
        return (sum(kinds), True) if any(kinds) else (None, odd)
    return output, odd


def _with_reasoning(value: Counts, told: Counts, output: int, rest: int) -> tuple[int, bool]:
    """Return the output with reasoning that stands beside it, and whether the numbers contradict each other.

    Args:
        value: the usage.
        told: the details of its output.
        output: the output as it was told.
        rest: the total less the input; the output itself where no total is told.
    """
    reasoning = _reasoning(value, told)
    if "num_search_queries" in value or "citation_tokens" in value:  # Perplexity's total has neither of them.
        return output + reasoning, False
    beside = rest - output
    if beside > 0 and (reasoning in {0, beside} or reasoning > output):
        return rest, reasoning not in {0, beside}
    if reasoning > output:  # It can't be part of a smaller output, whatever the total says.
        return output + reasoning, True
    return output, beside > 0


def _cached(value: Counts, told: Counts) -> tuple[int, bool]:
    counts = [possible(told, _CACHED_IN_DETAILS), possible(value, _CACHED)]
    return max(count or 0 for count, _ in counts), any(odd for _, odd in counts)


def _written(value: Counts, told: Counts) -> tuple[int, bool]:
    counts = [possible(told, _WRITTEN_IN_DETAILS), possible(value, _WRITTEN)]
    by_time = details(value, ("cache_creation",))
    kept = [possible(by_time, (f"ephemeral_{time}_input_tokens",))[0] or 0 for time in ("5m", "1h")]
    return max(sum(kept), *(count or 0 for count, _ in counts)), any(odd for _, odd in counts)


def _with_parts(usage: Usage, value: Counts, inputs: Counts, outputs: Counts) -> Usage:
    """Return a usage with what may have a price of its own; it is estimated where such a count is impossible."""
    cached_kinds = details(inputs, ("cached_tokens_details",)) or details(value, _CACHED_DETAILS)
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
        cached_count = note(f"cached_{kind}", possible(cached_kinds, names)[0], usage.cached_input_tokens)
        whole = possible(inputs, names)[0] or 0
        note(f"input_{kind}", max(0, whole - cached_count), usage.input_tokens)
        note(f"output_{kind}", possible(outputs, names)[0], usage.output_tokens)
    long_kept = possible(details(value, ("cache_creation",)), ("ephemeral_1h_input_tokens",))[0]
    note("cache_write_1h", long_kept, usage.cache_write_tokens)
    # Perplexity prices reasoning and citations apart from the answer; other providers tell reasoning in the details.
    note("output_reasoning", possible(value, ("reasoning_tokens",))[0], usage.output_tokens)
    note("output_citation", possible(value, ("citation_tokens",))[0], usage.output_tokens)
    note("audio_seconds", possible(value, _AUDIO_SECONDS)[0], MAX_TOKENS)
    fee_usd, context = details(value, ("cost",)).get("request_cost"), value.get("search_context_size")
    if isinstance(fee_usd, int | float) and not isinstance(fee_usd, bool) and 0 < fee_usd < _MAX_FEE_USD:
        note("told_fee", round(fee_usd * NANOUSD_PER_USD), MAX_TOKENS)
    elif context in _SEARCH_CONTEXTS:
        note(f"search_context_{context}", 1, 1)
    tables = (value, *(details(value, (name,)) for name in _TOOL_TABLES))
    for part, tools in _TOOL_CALLS.items():
        note(part, max(possible(table, tools)[0] or 0 for table in tables), MAX_TOKENS)
    return usage._replace(parts=tuple(sorted(counts.items())), estimated=usage.estimated or odd)


def _in_choices(choices: object) -> Iterator[tuple[object, Counts]]:
    for position, choice in enumerate(choices if isinstance(choices, list) else ()):
        if isinstance(choice, dict):
            index = choice.get("index")
            for place in (choice, choice.get("message"), choice.get("delta")):
                usage = place.get("usage") if isinstance(place, dict) else None
                if isinstance(usage, dict) and usage:
                    yield index if isinstance(index, int | str) else position, usage
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
