"""Finish reasons of many upstreams mean what OpenAI's four mean, or are named."""

import pytest

from semcache.model import Finish, finish_of, finish_text, unknown_finish

WORDS = {
    Finish.STOP: "stop STOP Stop eos eos_token end end_turn stop_sequence STOP_SEQUENCE COMPLETE complete FINISH "
    "endoftext FINISH_REASON_STOP stop-sequence end-turn "
    "EndTurn stopSequence endOfText DONE [DONE] stop_word </s> <|im_end|> <|eot_id|> <|END|> <eos> FinishReasonStop",
    Finish.LENGTH: "length LENGTH max_tokens MAX_TOKENS max_output_tokens FINISH_REASON_MAX_TOKENS token_limit "
    "maxTokens MaxTokens max-tokens",
    Finish.TOOL_CALLS: "tool_calls tool_use function_call TOOL_CALL toolUse ToolCalls",
    Finish.FILTERED: "content_filter SAFETY RECITATION content_filtered guardrail_intervened refusal ERROR_TOXIC "
    "contentFilter GuardrailIntervened",
    Finish.CUT_OFF: "error model_length abort ERROR_LIMIT not_finished insufficient_system_resource timeout "
    "incomplete failed queued in_progress cancelled max_messages steered",
    Finish.UNSAID: "null NONE FINISH_REASON_UNSPECIFIED",
    Finish.UNKNOWN: "eos2 weird stopped_by_moon stopp <|moon|> STOPSEQUENCE",
}


@pytest.mark.parametrize(("kind", "word"), [(kind, word) for kind, words in WORDS.items() for word in words.split()])
def test_a_word_has_its_kind(kind, word):
    assert finish_of(word) is kind
    assert finish_of(f" {word} ") is kind


def test_no_word_is_no_reason():
    assert finish_of("") is finish_of("  ") is Finish.UNSAID


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), ("", ""), ("stop", "stop"), (1, "1"), ({"type": "stop"}, '{"type": "stop"}')]
)
def test_a_reason_of_json_is_a_text(value, text):
    assert finish_text(value) == text


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("weird", "unknown_finish_reason:weird"),
        (" odd end:\n", "unknown_finish_reason:odd_end_"),
        ("f" * 1000, "unknown_finish_reason:" + "f" * 64),
    ],
)
def test_an_unknown_word_is_named_in_the_reason(word, reason):
    assert unknown_finish(word) == reason
