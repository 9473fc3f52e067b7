"""Streams of prompts from files, in the order in which they came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from semcache.errors import InvalidRequestError

_PROMPT_NAMES = ("prompt", "text", "q")


@dataclass(frozen=True, slots=True)
class StreamedRequest:
    """One request of a stream: an OpenAI body and the namespace that it goes to."""

    body: bytes
    model: str
    namespace: str


def load_stream(path: Path, *, model: str) -> tuple[StreamedRequest, ...]:
    """The requests of a file.

    A line is a JSON object with `prompt`, `text`, `q` or `messages`, and perhaps `model` and `namespace`; or, if it
    doesn't begin with a brace, a prompt.

    Raises:
        InvalidRequestError: BAD_STREAM, with the file and the line.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        _refuse(str(path), f"can't be read: {error.strerror}")
    except UnicodeDecodeError:
        _refuse(str(path), "is not UTF-8 text")
    requests = tuple(
        _request(f"{path}:{number}", line.strip(), model) for number, line in enumerate(lines, start=1) if line.strip()
    )
    if not requests:
        _refuse(str(path), "holds no prompts")
    return requests


def _request(where: str, line: str, model: str) -> StreamedRequest:
    row: Mapping[str, Any] = {"prompt": line}
    if line.startswith("{"):
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            _refuse(where, "is not a JSON object")
    messages = row.get("messages")
    if messages is None:
        prompt = next((row[name] for name in _PROMPT_NAMES if name in row), None)
        if not isinstance(prompt, str) or not prompt.strip():
            _refuse(where, "has no prompt, text, q or messages")
        messages = [{"role": "user", "content": prompt}]
    asked = str(row.get("model") or model)
    body = json.dumps({"model": asked, "messages": messages}, ensure_ascii=False).encode()
    return StreamedRequest(body, asked, str(row.get("namespace") or ""))


def _refuse(where: str, problem: str) -> NoReturn:
    raise InvalidRequestError(f"{where} {problem}.", reason="BAD_STREAM", hint="Lines are prompts or JSON objects.")
