"""Streams of prompts from files, in the order in which they came."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semcache.evaluation.lines import parse_object, read_lines, refuse

_PROMPT_NAMES = ("prompt", "text", "q")
_OBJECT = re.compile(r"\{\s*(?:[\"}]|$)")
"""How an object begins; a prompt may begin with a brace too, as in `{name}, hello`."""
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}")


@dataclass(frozen=True, slots=True)
class StreamedRequest:
    """One request of a stream: an OpenAI body and the namespace that it goes to."""

    body: bytes
    model: str
    namespace: str


def load_stream(path: Path, *, model: str) -> tuple[StreamedRequest, ...]:
    """The requests of a file.

    A line is a JSON object with `prompt`, `text`, `q` or `messages`, and perhaps `model` and `namespace`; or, if it
    doesn't begin like one, a prompt.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    return tuple(_request(where, text, model) for where, text in read_lines(path))


def _request(where: str, line: str, model: str) -> StreamedRequest:
    row: Mapping[str, Any] = {"prompt": line}
    if _OBJECT.match(line):
        row = parse_object(where, line)
    messages = row.get("messages")
    if messages is None:
        prompt = next((row[name] for name in _PROMPT_NAMES if name in row), None)
        if not isinstance(prompt, str) or not prompt.strip():
            refuse(where, "has no prompt, text, q or messages", "Lines are prompts or JSON objects.")
        messages = [{"role": "user", "content": prompt}]
    asked, namespace = row.get("model") or model, row.get("namespace") or ""
    if not isinstance(asked, str) or not _MODEL.fullmatch(asked):
        refuse(where, f"has the model {str(asked)[:40]!r}", "A model's name has letters, digits and ._/:@- alone.")
    if not isinstance(namespace, str):
        refuse(where, "has a namespace that is no string", "Write it as text.")
    body = json.dumps({"model": asked, "messages": messages}, ensure_ascii=False).encode()
    return StreamedRequest(body, asked, namespace)
