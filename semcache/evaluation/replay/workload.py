"""Reads workloads: files of prompts in the order in which they arrived."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from semcache.evaluation.labels.lines import parse_object, read_lines, refuse
from semcache.evaluation.labels.tables import TABLE_SUFFIXES, Row, read_table

_PROMPT_NAMES = ("prompt", "text", "q")
_LABEL_NAMES = ("answer", "cluster", "label")
_OBJECT = re.compile(r"\{\s*(?:[\"}]|$)")
"""The beginning of a JSON object; a prompt may begin with a brace too, as in `{name}, hello`."""
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}")
_ARRIVALS = re.compile(r"TIMESTAMP\W+ContextTokens\W+GeneratedTokens")
_PAIRS = (frozenset({"a", "b"}), frozenset({"question1", "question2"}))


@dataclass(frozen=True, slots=True)
class WorkloadRequest:
    """One request of a workload.

    Attributes:
        body: the OpenAI request body, as JSON.
        model: the requested model alias.
        namespace: the namespace; empty for the default one.
        task_type: the task type that the caller names; empty for none.
        template_id: the template from which the last message was made; empty for none.
        slots: the template's slots as (name, value).
        label: requests with one label share an answer; None if unknown.
        at_s: when it arrived, in seconds from any fixed moment; None if unknown.
    """

    body: bytes
    model: str
    namespace: str
    task_type: str = ""
    template_id: str = ""
    slots: tuple[tuple[str, str], ...] = ()
    label: str | None = None
    at_s: float | None = None


def load_workload(path: Path, *, model: str) -> tuple[WorkloadRequest, ...]:
    """Return the requests of a file of lines, or of a table (.csv, .tsv) with a column for the prompt.

    A line that begins like a JSON object is one, with these fields; any other line is a prompt:

    - `prompt`, `text`, `q` or `messages`: the prompt. Required.
    - `model`, `namespace`, `task_type`, `template` ({id, slots}): as in the API.
    - `at`: the time of arrival, in seconds or as ISO 8601.
    - `answer`, `cluster` or `label`: a value that requests with one answer share.

    A table's columns have these names too, except `messages` and `template`.

    Args:
        path: the file.
        model: the model alias of records that name none.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    rows = _rows(path)
    where, first = rows[0]
    if any(names <= first.keys() for names in _PAIRS):
        refuse(where, "begins a file of labelled pairs", "Play them with `semcache eval FILE`.")
    requests = tuple(_request(place, row, model) for place, row in rows)
    _check_times(rows, requests)
    return requests


def label_name(path: Path) -> str:
    """Return the field that holds a workload's labels; empty if no record has a label.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    return next((name for _, row in _rows(path) for name in _LABEL_NAMES if _has_value(row, name)), "")


def _rows(path: Path) -> list[Row]:
    lines = read_lines(path)
    if _ARRIVALS.match(lines[0][1]):
        hint = "Name a file with prompts; their arrival times may stand in it as `at`."
        refuse(lines[0][0], "begins a trace of arrival times and token counts, without prompts", hint)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return list(read_table(path, [frozenset({name}) for name in _PROMPT_NAMES]))
    return [(where, _row(where, text)) for where, text in lines]


def _has_value(row: Mapping[str, Any], name: str) -> bool:
    return row.get(name) is not None and row[name] != ""


def _row(where: str, line: str) -> Mapping[str, Any]:
    return parse_object(where, line) if _OBJECT.match(line) else {"prompt": line}


def _request(where: str, row: Mapping[str, Any], model: str) -> WorkloadRequest:
    messages = row.get("messages")
    if messages is None:
        prompt = next((row[name] for name in _PROMPT_NAMES if name in row), None)
        if not isinstance(prompt, str) or not prompt.strip():
            refuse(where, "has no prompt, text, q or messages", "Records are prompts, JSON objects or rows of a table.")
        messages = [{"role": "user", "content": prompt}]
    asked = row.get("model") or model
    if not isinstance(asked, str) or not _MODEL.fullmatch(asked):
        refuse(where, f"has the model {str(asked)[:40]!r}", "A model's name has only letters, digits and ._/:@-.")
    template_id, slots = _template(where, row.get("template"))
    return WorkloadRequest(
        body=json.dumps({"model": asked, "messages": messages}, ensure_ascii=False).encode(),
        model=asked,
        namespace=_text(where, row, "namespace"),
        task_type=_text(where, row, "task_type"),
        template_id=template_id,
        slots=slots,
        label=_label(where, row),
        at_s=_time(where, row.get("at")),
    )


def _text(where: str, row: Mapping[str, Any], field: str) -> str:
    value = row.get(field) or ""
    if not isinstance(value, str):
        refuse(where, f"has a {field} that is no string", "Write it as text.")
    return value


def _template(where: str, template: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
    if template is None:
        return "", ()
    hint = 'Write {"id": "greeting", "slots": {"name": "…"}}.'
    if not isinstance(template, dict) or not isinstance(template.get("id"), str) or not template["id"]:
        refuse(where, "has a template without an id", hint)
    slots = template.get("slots") or {}
    if not isinstance(slots, dict) or not all(isinstance(value, str) for value in slots.values()):
        refuse(where, "has a template whose slots are not names with texts", hint)
    return template["id"], tuple(slots.items())


def _label(where: str, row: Mapping[str, Any]) -> str | None:
    label = next((row[name] for name in _LABEL_NAMES if _has_value(row, name)), None)
    if label is not None and not isinstance(label, str | int):
        refuse(where, f"has the label {str(label)[:40]!r}", "A label is a text or a whole number.")
    return None if label is None else str(label)


def _time(where: str, at: Any) -> float | None:
    if at is None or at == "":
        return None
    try:
        if isinstance(at, int | float) and not isinstance(at, bool):
            return float(at)
        return _read_time(str(at))
    except (ValueError, OverflowError):
        refuse(where, f"has the time {str(at)[:40]!r}", "Write seconds, or ISO 8601 as in 2026-11-24T20:00:00Z.")


def _read_time(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _check_times(rows: list[Row], requests: tuple[WorkloadRequest, ...]) -> None:
    timed = [request.at_s is not None for request in requests]
    if any(timed) and not all(timed):
        refuse(rows[timed.index(False)][0], "has no time, and other records have one", "Give all of them one, or none.")
    for (_, before), (later, after) in pairwise(zip(rows, requests, strict=True)):
        if before.at_s is not None and after.at_s is not None and not before.at_s <= after.at_s:
            refuse(later[0], "comes before the record above it", "Sort the file by time.")
