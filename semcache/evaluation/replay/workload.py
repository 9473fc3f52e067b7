"""Reads workloads: files of prompts in the order in which they arrived."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from semcache.evaluation.labels.files import LABELLED_HEADERS, PAIR_HEADERS
from semcache.evaluation.records.reading import read_records
from semcache.evaluation.records.record import Record, name_of, plain, read_each, refuse, say_nothing
from semcache.evaluation.records.shapes import read_request, refuse_promptless, refuse_turn, shape_of
from semcache.evaluation.records.times import OWN, read_time

_LABEL_NAMES = ("answer", "cluster", "label")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}")


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


def load_workload(
    path: Path, *, model: str, on_skipped: Callable[[str], None] = say_nothing
) -> tuple[WorkloadRequest, ...]:
    """Return the requests of a file: JSON, a table with a header, or one prompt on each line.

    A record's prompt stands in one of the fields that `records/shapes.py` lists: a text, a conversation, or a request.
    A conversation is asked up to its last message that isn't the assistant's. These fields may stand beside it, under
    names in which case, spaces, hyphens and underscores don't matter:

    - `model`, `namespace`, `task_type`, `template` ({id, slots}): as in the API.
    - `at`: the time of arrival. Exports write it as `startTime`, `timestamp`, `created_at`, `ts` and under the other
      names in `records/times.py`. It is in seconds, milli-, micro- or nanoseconds, or ISO 8601.
    - `answer`, `cluster` or `label`: a value that requests with one answer share.

    Records with `at` stand in the order of their times; exports are sorted.

    Args:
        path: the file.
        model: the model alias of records that name none.
        on_skipped: called with a sentence for each record that is left out, as it asks nothing or lacks a time.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    records = read_records(path, LABELLED_HEADERS)
    first = records[0]
    if any(fields <= first.fields.keys() for fields in PAIR_HEADERS):
        refuse(first.where, "begins a file of labelled pairs", "Play them with `semcache eval FILE`.")
    if shape_of(first) is None:
        refuse_promptless(path, first)
    requests = read_each(records, lambda record: _request(record, model), on_skipped)
    if all(OWN not in record.fields for record in records):
        requests = _timed(requests, on_skipped)
        if all(request.at_s is not None for _, request in requests):
            requests.sort(key=lambda item: item[1].at_s or 0.0)  # Exports begin with the newest record.
    _check_times(requests)
    return tuple(request for _, request in requests)


def label_name(path: Path) -> str:
    """Return the field that holds a workload's labels; empty if no record has a label.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    records = read_records(path, LABELLED_HEADERS)
    return next((name for record in records for name in _LABEL_NAMES if _has_value(record, name)), "")


def _has_value(record: Record, name: str) -> bool:
    value = record.fields.get(name)
    return value is not None and value != ""


def _request(record: Record, model: str) -> WorkloadRequest:
    refuse_turn(record)
    body = read_request(record)
    asked = record.fields.get("model") or body.get("model") or model
    if not isinstance(asked, str) or not _MODEL.fullmatch(asked):
        hint = "A model's name has only letters, digits and ._/:@-."
        refuse(record.where, f"has the model {str(asked)[:40]!r}", hint)
    template_id, slots = _template(record.where, record.fields.get("template"))
    return WorkloadRequest(
        body=json.dumps({**body, "model": asked}, ensure_ascii=False).encode(),
        model=asked,
        namespace=_text(record, "namespace"),
        task_type=_text(record, "task_type"),
        template_id=template_id,
        slots=slots,
        label=_label(record),
        at_s=read_time(record),
    )


def _text(record: Record, field: str) -> str:
    value = record.fields.get(plain(field)) or ""
    if not isinstance(value, str):
        refuse(record.where, f"has a {field} that is no string", "Write it as text.")
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


def _label(record: Record) -> str | None:
    label = next((record.fields[name] for name in _LABEL_NAMES if _has_value(record, name)), None)
    name = name_of(label)
    if label is not None and name is None:
        refuse(record.where, f"has the label {str(label)[:40]!r}", "A label is a text or a whole number.")
    return name


def _timed(
    requests: Sequence[tuple[Record, WorkloadRequest]], on_skipped: Callable[[str], None]
) -> list[tuple[Record, WorkloadRequest]]:
    """Return an export's requests without those that lack a time, if at least half of all have one; else all."""
    timed = [item for item in requests if item[1].at_s is not None]
    if len(timed) * 2 < len(requests) or not timed:
        return list(requests)
    for record, request in requests:
        if request.at_s is None:
            on_skipped(f"{record.where} has no time, and other records have one, so it is left out.")
    return timed


def _check_times(requests: Sequence[tuple[Record, WorkloadRequest]]) -> None:
    timed = [request.at_s is not None for _, request in requests]
    if any(timed) and not all(timed):
        where = requests[timed.index(False)][0].where
        refuse(where, "has no time, and other records have one", "Give all of them one, or none.")
    for (_, before), (later, after) in pairwise(requests):
        if before.at_s is not None and after.at_s is not None and not before.at_s <= after.at_s:
            refuse(later.where, "comes before the record above it", "Sort the file by time.")
