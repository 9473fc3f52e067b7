"""Texts that hold more than a prompt are refused by name: templates' markup, logs, single messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from semcache.errors import InvalidRequestError
from semcache.evaluation.replay.workload import load_workload


def prompts_in(folder: Path, name: str, content: str) -> list[str]:
    path = folder / name
    path.write_text(content, "utf-8")
    return [json.loads(request.body)["messages"][-1]["content"] for request in load_workload(path, model="m")]


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        pytest.param("<s> [INST] hi [/INST] Hello.</s>", "<s>[INST]", id="Llama 2 with a blank"),
        pytest.param("<s>\n[INST] hi [/INST]", "<s>[INST]", id="Llama 2 with a line feed"),
        pytest.param("[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]hi[/INST]", "[SYSTEM_PROMPT]", id="Mistral"),
        pytest.param("<|begin_of_text|><|header_start|>user", "<|begin_of_text|>", id="Llama 4"),
        pytest.param("<bos><start_of_turn>user\nhi<end_of_turn>", "<bos><start_of_turn>", id="Gemma"),
        pytest.param("<｜User｜>hi<｜Assistant｜>Hello.", "<｜User｜>", id="DeepSeek"),
        pytest.param("<｜begin▁of▁sentence｜>hi", "<｜begin▁of▁sentence｜>", id="DeepSeek's beginning"),
        pytest.param("<|start|>user<|message|>hi<|end|>", "<|start|>", id="Harmony"),
        pytest.param("<|User|>hi", "<|User|>", id="capitals"),
        pytest.param("<|assistant|>\nHello.", "<|assistant|>", id="an answer alone"),
        pytest.param("<|START_OF_TURN_TOKEN|><|USER_TOKEN|>hi", "<|START_OF_TURN_TOKEN|>", id="Cohere"),
        pytest.param("[gMASK]<sop><|user|>\nhi", "[gMASK]<sop><|user|>", id="GLM"),
        pytest.param("<|im_user|>user<|im_middle|>hi<|im_end|>", "<|im_user|>", id="Kimi"),
        pytest.param("### Instruction:\nSum up.\n\n### Response:\nDone.", "### Instruction:", id="Alpaca"),
        pytest.param(
            "Below is an instruction that describes a task.\n\n### Instruction:\na\n\n### Response:\nb",
            "### Instruction:",
            id="Alpaca with its preamble",
        ),
        pytest.param("### Human: hi### Assistant: Hello.", "### Human:", id="Guanaco"),
        pytest.param("\n\nHuman: hi\n\nAssistant: Hello.", "Human:", id="HH-RLHF"),
        pytest.param("USER: hi ASSISTANT: Hello.</s>", "USER:", id="Vicuna"),
        pytest.param("USER: hi\nASSISTANT: Hello.", "USER:", id="lines with roles"),
        pytest.param("System: Be brief.\nUser: hi\nAI: Hello.", "System:", id="lines with a system"),
        pytest.param(
            "A chat between a curious user and an artificial intelligence assistant. USER: hi ASSISTANT: Hello.",
            "USER:",
            id="Vicuna with its preamble",
        ),
    ],
)
def test_markup_is_refused_by_name(tmp_path: Path, text: str, markup: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        prompts_in(tmp_path, "f.jsonl", json.dumps({"text": text}))
    assert f":1 has the markup of a chat template in text ({markup})" in caught.value.message
    assert "messages" in caught.value.hint
    with pytest.raises(InvalidRequestError, match=":1 begins text with a chat template's markup"):
        prompts_in(tmp_path, "f.txt", text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("# Title\n\n## Steps\n\n- one\n- two\n\n```py\nprint(1)\n```", id="Markdown"),
        pytest.param("### Instruction:\nSum up.\n\n### Data:\n1, 2", id="a heading without a response"),
        pytest.param("### Question:\nWhy?\n\n### Answer:\n", id="a question with its place for an answer"),
        pytest.param("**User:** hi\n\n**Assistant:** Hello.\n\nGo on.", id="bold roles"),
        pytest.param("> a quote\n\n| a | b |\n|---|---|\n| 1 | 2 |", id="a quote and a table"),
        pytest.param("Sum up this chat:\nUser: hi\nAssistant: Hello.", id="a conversation in a prompt"),
        pytest.param("What does ### Instruction: mean before ### Response: ?", id="markup in a sentence"),
        pytest.param("User: admin\nHow do I reset it?", id="a user's name"),
        pytest.param("System: Windows\nUser: admin\nModel: X1", id="a form"),
        pytest.param("<|endoftext|> means what?", id="one token"),
        pytest.param("<s>old</s> new: explain this HTML", id="HTML"),
        pytest.param("A chat between a dog and a cat, please.", id="a chat as a wish"),
        pytest.param('1.2.3.4 - - [05/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200\nWhat is this?', id="a log's line"),
    ],
)
def test_what_only_resembles_markup_is_a_prompt(tmp_path: Path, text: str) -> None:
    assert prompts_in(tmp_path, "f.jsonl", json.dumps({"text": text})) == [text]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('1.2.3.4 - - [05/Jan/2026:10:00:00 +0000] "POST /v1/chat/completions HTTP/1.1" 200 12', "an access log"),
        ("INFO 01-05 10:00:00 [async_llm.py:261] Added request chatcmpl-1.", "a log of a server"),
        ("(APIServer pid=1) INFO 01-05 10:00:00 [loggers.py:123] Engine 000", "a log of a server"),
        ('INFO:     127.0.0.1:5000 - "POST /v1/chat/completions HTTP/1.1" 200 OK', "a log of a server"),
        ("INFO:root:started", "a log of a server"),
        ("2026-01-05 10:00:00,123 INFO app: started", "a log of a server"),
        ("[2026-01-05T10:00:00Z] started", "a log of a server"),
        ("Jan  5 10:00:00 host app[1]: started", "a log of a server"),
        ("I0105 10:00:00.000 1 main.go:1] started", "a log of a server"),
        ("time=2026-01-05T10:00:00Z level=info msg=started", "a log of a server"),
    ],
)
def test_a_log_is_refused_by_name(tmp_path: Path, line: str, kind: str) -> None:
    with pytest.raises(InvalidRequestError, match=f":1 begins {kind}, without prompts"):
        prompts_in(tmp_path, "f.log", f"{line}\n{line}\n  more\n")


def test_prompts_about_logs_are_read(tmp_path: Path) -> None:
    lines = ["2026-01-05 10:00:00 ERROR, what does it mean?", "ERROR 404 means what?", "How do I rotate logs?"]
    assert prompts_in(tmp_path, "f.txt", "\n".join(lines)) == lines


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([{"role": "prompter", "text": "hi"}, {"role": "assistant", "text": "Hello."}], id="OASST"),
        pytest.param([{"from": "human", "value": "hi"}], id="ShareGPT's turns"),
        pytest.param([{"speaker": "User", "utterance": "hi"}], id="speakers"),
        pytest.param([{"author": "bot", "message": "hi"}], id="authors"),
        pytest.param([{"sender": "assistant", "text": "hi"}], id="senders"),
    ],
)
def test_one_message_a_line_is_refused(tmp_path: Path, records: list[Any]) -> None:
    with pytest.raises(InvalidRequestError, match=":1 is one message of a conversation, not a prompt") as caught:
        prompts_in(tmp_path, "f.jsonl", "\n".join(map(json.dumps, records)))
    assert "messages" in caught.value.hint


def test_an_answer_after_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=":3 is one message of a conversation"):
        prompts_in(tmp_path, "f.csv", "text,role\nhi,\nHello.,assistant\n")


@pytest.mark.parametrize("beside", [{"role": "admin"}, {"from": "a@b.c"}, {"author": "Ada"}], ids=str)
def test_other_words_for_who_asks_are_no_turns(tmp_path: Path, beside: dict[str, str]) -> None:
    assert prompts_in(tmp_path, "f.jsonl", json.dumps({"text": "hi", **beside})) == ["hi"]
