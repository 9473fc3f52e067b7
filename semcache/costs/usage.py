"""Which counts of a usage can be true, and estimates of the tokens of a call whose upstream sent none, or a part."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from semcache.model import LostAnswer, Usage

_log = structlog.get_logger(__name__)

_SAMPLE_CHARS = 4096
"""Characters that are tokenised; more would hold up the event loop. Longer texts are scaled up from them."""
_UNSEEN_INPUT_TOKENS = 2_000_000
"""Input that isn't in the request's bytes (images and files by their address, what a provider's own search found): the
largest context window of a provider's model."""
_UNSEEN_OUTPUT_TOKENS = 1_000_000
"""Output that isn't in the answer, such as hidden reasoning: more than any model generates for one choice."""
_UNSEEN_BESIDE_LIMIT_TOKENS = 200_000
"""Hidden reasoning of one choice that a provider doesn't count against the caller's own limit."""
_CHARS_PER_TOKEN = 4
"""For a text that isn't at hand: the rule of thumb for English."""


def estimate_usage(
    prompt_chars: int, text: str, answer_text: str, count_tokens: Callable[[str], int], *, answer_chars: int = 0
) -> Usage:
    """Return an estimated usage, flagged as such; no token counts as cached by the provider.

    Args:
        prompt_chars: characters of all messages.
        text: the part of the prompt that is at hand (`KeyedRequest.text`, may be empty); its tokens per character
            are taken for the whole.
        answer_text: the answer, as far as it came.
        count_tokens: the embedder's tokenizer. The upstream has another, so this is an estimate.
        answer_chars: characters of the whole answer, where more of it was made than came.
    """
    return Usage(
        input_tokens=_tokens(text, max(prompt_chars, len(text)), count_tokens),
        output_tokens=_tokens(answer_text, max(answer_chars, len(answer_text)), count_tokens),
        estimated=True,
    )


def plausible_usage(
    usage: Usage, *, request_bytes: int, answer_bytes: int, output_limit: int | None, choices: int
) -> Usage:
    """Return the usage without counts that can't be true: they are 0, and the usage is flagged as estimated.

    A token stands for a byte at least. What neither the request nor the answer shows is limited by what models can take
    and generate. Parts of a usage are dropped with the counts that they belong to.

    Args:
        usage: as the upstream or the caller told it.
        request_bytes: bytes of the request's body.
        answer_bytes: bytes of the answer, or the characters of one that was lost, as far as it came.
        output_limit: the caller's own limit on output tokens; None where it set none.
        choices: how many answers the caller wanted at once.
    """
    unseen = _UNSEEN_OUTPUT_TOKENS if output_limit is None else output_limit + _UNSEEN_BESIDE_LIMIT_TOKENS
    if max(usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens) > request_bytes + (
        _UNSEEN_INPUT_TOKENS
    ):
        usage = usage._replace(input_tokens=0, cached_input_tokens=0, cache_write_tokens=0, estimated=True, parts=())
    if usage.output_tokens > answer_bytes + max(choices, 1) * unseen:
        usage = usage._replace(output_tokens=0, estimated=True, parts=())
    return usage


def with_estimates(usage: Usage, estimate: Usage) -> Usage:
    """Return the counts as they were told, and in place of each 0 the estimate; flagged as estimated."""
    return usage._replace(
        input_tokens=usage.input_tokens or estimate.input_tokens,
        output_tokens=usage.output_tokens or estimate.output_tokens,
        estimated=True,
    )


def lost_usage(lost: LostAnswer, prompt_chars: int, text: str, count_tokens: Callable[[str], int]) -> Usage:
    """Return what a lost answer has used: the counts that were told, and at least the text that came.

    Args:
        lost: the answer.
        prompt_chars: characters of all messages of its request.
        text: the part of the prompt that is at hand.
        count_tokens: the embedder's tokenizer.
    """
    estimate = estimate_usage(prompt_chars, text, lost.text, count_tokens, answer_chars=lost.text_chars)
    usage = lost.usage if not lost.usage.estimated else with_estimates(lost.usage, estimate)
    if estimate.output_tokens <= usage.output_tokens:
        return usage
    return usage._replace(output_tokens=estimate.output_tokens, estimated=True)


def _tokens(sample: str, chars: int, count_tokens: Callable[[str], int]) -> int:
    sample = sample[:_SAMPLE_CHARS]
    try:
        counted = max(count_tokens(sample), 1) if sample else 0
    except Exception:  # noqa: BLE001 - the call is paid for and must be booked, if only by a rough estimate
        _log.exception("costs.usage_not_tokenized")
        counted = 0
    return -(-counted * chars // len(sample)) if counted else -(-chars // _CHARS_PER_TOKEN)
