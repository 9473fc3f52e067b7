"""Knows texts that hold more than a prompt: conversations in the markup of a chat template, and logs of servers."""

from __future__ import annotations

import re

CHATML = "<|im_start|>"
_START = r"\s*(?:(?:<s>|<bos>|<BOS_TOKEN>|\[gMASK\]|<sop>)\s*)*"
"""What templates write before the first turn. Alone it is no markup: `<s>` is struck text in HTML."""
_SPECIAL = r"<[|｜][\w▁ ]{1,40}[|｜]>"
"""A token between bars; DeepSeek writes full-width ones."""
_ROLE = r"(?:system|user|assistant|human|prompter|begin_of_text|start_header_id|begin▁of▁sentence)"
_ASKER = r"(?:USER|User|HUMAN|Human|Prompter)"
_ANSWERER = r"(?:ASSISTANT|Assistant|AI|BOT|Bot|Chatbot|ChatGPT|GPT)"
_TEMPLATES = (
    rf"<[|｜](?i:{_ROLE})[|｜]>",
    rf"{_SPECIAL}(?=.*{_SPECIAL})",
    r"\[INST\]",
    r"\[SYSTEM_PROMPT\]",
    r"\[\|(?:Human|System)\|\]",
    r"<start_of_turn>",
    r"<start_of_role>",
    r"<extra_id_0>(?=System|User)",
    r"<human>:",
    r"#{2,4} *(?:Human|User|System) *:",
    r"#{2,4} *Instructions? *:(?=.*#{2,4} *(?:Response|Assistant) *:)",
    rf"(?:(?:SYSTEM|System) *:(?=.*\s{_ASKER} *:)|{_ASKER} *:)(?=.*(?:\s|>){_ANSWERER} *:)",
)
"""Beginnings of texts that a chat template made. Words that also begin prompts count only if an answer follows."""
_MARKUP = re.compile("|".join(f"(?:{template})" for template in _TEMPLATES), re.DOTALL)
_BEFORE = re.compile(_START)
_PREAMBLES = re.compile(
    r"\s*(?:Below is an instruction that describes a task.*?(?P<alpaca>#{2,4} *Instruction *:).*?#{2,4} *Response *:"
    r"|A chat between a (?:curious )?(?:user|human) .*?(?P<vicuna>USER:|### *Human:))",
    re.DOTALL,
)
"""Sentences with which Alpaca's and Vicuna's templates begin."""
_LOGS = (
    ("an access log", r'\S+ \S+ \S+ \[\d\d/\w{3}/\d{4}:[^\]]*\] "'),
    (
        "a log of a server",
        r"(?:\([^)]*\) *)?(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\b:?[ \t]+(?:\d{4}-)?\d\d-\d\d[ T]\d\d:\d\d:\d\d",
    ),
    ("a log of a server", r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL):(?:[ \t]{2,}\S|[\w.]+:)"),
    ("a log of a server", r"\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d\S*\s"),
    ("a log of a server", r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ "),
    ("a log of a server", r"[IWEF]\d{4} \d\d:\d\d:\d\d"),
    ("a log of a server", r"(?:ts|time|level)=\S+ .*\b(?:msg|level|caller)="),
)
"""(what a file is, the beginning of its lines)."""
_LINES_SEEN = 20


def begins_with_markup(text: str) -> str:
    """Return the markup of a chat template with which a text begins; empty if there is none.

    A Markdown text is a prompt: a heading counts only if it names a role, or an instruction with its response.
    """
    preamble = _PREAMBLES.match(text)
    if preamble:
        return preamble["alpaca"] or preamble["vicuna"]
    before = _BEFORE.match(text)
    start = before.end() if before else 0
    found = _MARKUP.match(text, start)
    return text[:start].strip() + found[0] if found else ""


def log_in(text: str) -> str:
    """Return what a file of text is, if its first line and half of the lines after it are a server's log; else empty.

    In a field of a record, a log may be what a prompt asks about; so this is for whole files.
    """
    lines = [line for line in text.split("\n", 20 * _LINES_SEEN) if line.strip()][:_LINES_SEEN]
    for name, beginning in _LOGS:
        alike = [bool(re.match(beginning, line)) for line in lines]
        if alike and alike[0] and sum(alike) * 2 >= len(alike):
            return name
    return ""
