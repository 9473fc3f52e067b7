"""Estimates of the tokens of a call whose upstream sent no usage, or a part of one."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from semcache.model import LostAnswer, Usage

_log = structlog.get_logger(__name__)

_SAMPLE_CHARS = 4096
"""Characters that are tokenised; more would hold up the event loop. Longer texts are scaled up from them."""
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
