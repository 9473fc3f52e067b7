"""Files as users have them, collected for this project: each is read as what it is, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.files import load_pairs
from semcache.evaluation.replay.workload import load_workload
from tests.conftest import ROOT, missing

FILES = ROOT.parent / "shared" / "cases" / "files"
PAIRS = ":2 begins a file of labelled pairs"
PAIRS_JSON = ":1 begins a file of labelled pairs"
NO_LABELS = "begins a file of prompts without labels"
MARKUP = ":1 begins text with a chat template's markup"
OUTCOMES: dict[str, tuple[int | str, int | str]] = {
    "alpaca.jsonl": (6, f"{NO_LABELS} (instructions of Alpaca)"),
    "array_compact.json": (6, NO_LABELS),
    "array_compact.jsonl": (6, NO_LABELS),
    "array_pretty.json": (6, NO_LABELS),
    "at_ms.jsonl": (6, NO_LABELS),
    "at_offset.jsonl": (6, NO_LABELS),
    "at_s.jsonl": (3, NO_LABELS),
    "at_space_utc.jsonl": (6, NO_LABELS),
    "banking77.csv": (6, ":2 begins texts by category, which doesn't say"),
    "bom.csv": (6, NO_LABELS),
    "capital_header.csv": (6, NO_LABELS),
    "chatml.txt": (MARKUP, MARKUP),
    "chatml_text.jsonl": (6, NO_LABELS),
    "clusters_num.csv": (6, 12),
    "clusters_num.jsonl": (6, 12),
    "cp1252.csv": (":2 is not UTF-8 text", ":2 is not UTF-8 text"),
    "cr_only.csv": (2, NO_LABELS),
    "cr_only_pairs.csv": (PAIRS, 2),
    "custom_role.jsonl": (1, f"{NO_LABELS} (conversations)"),
    "empty.csv": ("holds nothing", "holds nothing"),
    "empty_user_turn.jsonl": (1, f"{NO_LABELS} (conversations)"),
    "header_only.csv": ("holds a header and no rows", "holds a header and no rows"),
    "label.csv": (PAIRS, 3),
    "langfuse.jsonl": (6, NO_LABELS),
    "langfuse_list.jsonl": (6, NO_LABELS),
    "litellm_spend.csv": (6, f"{NO_LABELS} (a LiteLLM spend log)"),
    "litellm_spend.jsonl": (6, f"{NO_LABELS} (a LiteLLM spend log)"),
    "litellm_spend_empty.jsonl": (":1 is a line of LiteLLM's spend log without its messages", NO_LABELS),
    "nan.jsonl": (2, NO_LABELS),
    "nul.csv": (":2 holds a NUL character", ":2 holds a NUL character"),
    "one_bad_line.jsonl": (6, NO_LABELS),
    "openai_batch.jsonl": (6, f"{NO_LABELS} (an OpenAI batch)"),
    "openai_finetune.jsonl": (6, f"{NO_LABELS} (conversations)"),
    "openai_usage.csv": (":1 begins an export of usage, without prompts", ":1 begins an export of usage"),
    "pairs_TRUE.csv": (PAIRS, 3),
    "pairs_array.json": (PAIRS_JSON, 3),
    "pairs_bom_semicolon.csv": (PAIRS, 3),
    "pairs_empty_side.csv": (PAIRS, 3),
    "pairs_float.jsonl": (PAIRS_JSON, 3),
    "pairs_parts.jsonl": (PAIRS_JSON, 3),
    "pairs_yes.csv": (PAIRS, 3),
    "pandas_index.csv": (6, NO_LABELS),
    "parts.jsonl": (6, f"{NO_LABELS} (conversations)"),
    "paws.tsv": (PAIRS, 3),
    "pretty_objects.jsonl": (6, NO_LABELS),
    "prompts.txt": (6, NO_LABELS),
    "prompts_braces.txt": (3, NO_LABELS),
    "qqp.tsv": (PAIRS, 3),
    "qqp_float.csv": (PAIRS, 3),
    "question_column.csv": (6, f"{NO_LABELS} (questions)"),
    "quote_in_header.csv": (":1 is no row of a table", ":1 is no row of a table"),
    "quoted_newline.csv": (2, NO_LABELS),
    "semicolon.csv": (6, NO_LABELS),
    "sep_line.csv": (6, NO_LABELS),
    "sharegpt.json": (6, f"{NO_LABELS} (conversations of ShareGPT)"),
    "sharegpt.jsonl": (6, f"{NO_LABELS} (conversations of ShareGPT)"),
    "single_quotes.jsonl": (2, NO_LABELS),
    "stsb.csv": (PAIRS, ":2 has a score and no label"),
    "tab.tsv": (6, NO_LABELS),
    "tools_history.jsonl": (1, f"{NO_LABELS} (conversations)"),
    "trailing_comma_object.jsonl": (
        ":1 is not a JSON object: a comma stands before the closing bracket",
        ":1 is not a JSON object: a comma stands before the closing bracket",
    ),
    "trailing_commas.jsonl": (6, NO_LABELS),
    "utf16.csv": (2, NO_LABELS),
}
"""What `replay` and what `eval` and `tune` make of a file: its requests or pairs, or the sentence that refuses it."""
SKIPPED = {
    "one_bad_line.jsonl": ":7 has no prompt, because its prompt is empty, so it is left out.",
    "pairs_empty_side.csv": ":5 has an empty side question2, so it is left out.",
}


def case_file(name: str) -> Path:
    if not FILES.is_dir():
        missing(f"the case files are not at {FILES}")
    return FILES / name


def read(command: str, file: Path, skipped: list[str]) -> list[list[str]]:
    """The texts of each request or pair that a command reads from a file."""
    if command == "replay":
        return [[request.body.decode()] for request in load_workload(file, model="m", on_skipped=skipped.append)]
    pairs = load_pairs(file, on_skipped=skipped.append)
    return [[message["content"] for message in (*pair.stored, *pair.asked)] for pair in pairs]


@pytest.mark.parametrize("name", OUTCOMES)
@pytest.mark.parametrize("command", ["replay", "eval"])
def test_a_users_file(name: str, command: str) -> None:
    file, outcome = case_file(name), OUTCOMES[name][command == "eval"]
    skipped: list[str] = []
    if isinstance(outcome, str):
        with pytest.raises(InvalidRequestError) as caught:
            read(command, file, skipped)
        assert caught.value.message.startswith(str(file))
        assert outcome in caught.value.message
        assert caught.value.message.endswith(".")
        assert caught.value.hint
        return
    items = read(command, file, skipped)
    assert len(items) == outcome
    assert skipped == ([f"{file}{SKIPPED[name]}"] if name in SKIPPED else [])
    unread = ("<|im_", '\\"role', "prompt':", "An answer.")
    assert not any(markup in text for texts in items for text in texts for markup in unread)


def test_every_users_file_has_an_outcome() -> None:
    assert sorted(OUTCOMES) == sorted(file.name for file in case_file("").iterdir())


@pytest.mark.parametrize(
    ("name", "first_s", "step_s"),
    [
        ("at_s.jsonl", 1767600000.0, 2.0),
        ("at_ms.jsonl", 1767600000.0, 2.0),
        ("at_offset.jsonl", 1767603600.0, 1.0),
        ("at_space_utc.jsonl", 1767607200.0, 1.0),
        ("langfuse.jsonl", 1767607200.0, 60.0),
        ("langfuse_list.jsonl", 1767607200.0, 60.0),
        ("litellm_spend.jsonl", 1767607200.0, 60.0),
        ("litellm_spend.csv", 1767607200.0, 60.0),
    ],
)
def test_the_times_of_a_users_file(name: str, first_s: float, step_s: float) -> None:
    requests = load_workload(case_file(name), model="m")
    assert [request.at_s for request in requests] == [first_s + step_s * number for number in range(len(requests))]


def test_missing_times_are_none() -> None:
    assert [request.at_s for request in load_workload(case_file("nan.jsonl"), model="m")] == [None, None]
