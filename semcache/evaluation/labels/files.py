"""Reads labelled pairs from files and folders, in every known format."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semcache.evaluation.labels.drawing import from_clusters, from_intents, from_turns, named_texts
from semcache.evaluation.labels.lines import refuse
from semcache.evaluation.labels.pairs import LabelledPair, Message, NamedTexts, user
from semcache.evaluation.labels.tables import TABLE_SUFFIXES, Row, read_rows

_ROLES = frozenset({"system", "developer", "user", "assistant"})
_SIDES = (("a", "b"), ("question1", "question2"))
_LABELS = ("same", "same_answer", "is_duplicate")
_CLUSTERS, _INTENTS = frozenset({"cluster", "text"}), frozenset({"intent", "text"})
_TURNS = frozenset({"raw", "rewrite", "history"})
_PROMPTS = ("prompt", "q", "text", "messages")
_ARRIVALS = frozenset({"TIMESTAMP", "ContextTokens", "GeneratedTokens"})
_KNOWN = (*(frozenset(sides) for sides in _SIDES), _CLUSTERS, _INTENTS, _ARRIVALS)
_LABEL_WORDS = {"0": False, "1": True, "false": False, "true": True}


def load_pairs(path: Path, *, seed: int = 1) -> tuple[LabelledPair, ...]:
    """Return the pairs of a file, or of all files in a folder.

    The first record of a file decides which format all its records have. Records are JSON lines, or rows of a table
    (with commas, tabs or semicolons) under a header:

    - `{a, b, same | same_answer, kind | category | subtype, id}`: a pair. Its sides are prompts or, in JSON, lists of
      messages. `question1`, `question2` and `is_duplicate` are accepted as other names of `a`, `b` and `same`.
    - `{cluster, text}`: texts of one cluster share an answer. Each text is paired with another text of its cluster
      and with one of another cluster, drawn with `seed`.
    - `{intent, text}`: texts of one intent needn't share an answer. Each text makes one trap, drawn with `seed`.
    - `{history, raw, rewrite}`: turns of conversations. A raw text that occurs after different histories makes traps.
      A first turn and its rewrite make a hit if they differ.

    A pair may name its `namespace` and `task_type`.

    Args:
        path: a file or a folder.
        seed: of the random draws; equal seeds give equal pairs.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    return tuple(pair for file in files_of(path) for pair in _pairs(read_rows(file, _KNOWN), seed))


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the file itself, or all .jsonl, .csv and .tsv files in a folder and in the folders below it.

    Raises:
        InvalidRequestError: BAD_FILE: the folder holds no such file.
    """
    if not path.is_dir():
        return (path,)
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in {".jsonl", *TABLE_SUFFIXES})
    if not files:
        refuse(str(path), "holds no .jsonl, .csv or .tsv files", "Name the files themselves.")
    return tuple(files)


def load_named_texts(path: Path) -> NamedTexts | None:
    """Return the texts of a file of clusters or intents, for callers that choose pairs by themselves.

    Return None for a file of another format.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    rows = read_rows(path, _KNOWN)
    names = rows[0][1].keys()
    for fields in (_CLUSTERS, _INTENTS):
        if names >= fields:
            (field,) = fields - {"text"}
            return named_texts(rows, field)
    return None


def _pairs(rows: list[Row], seed: int) -> tuple[LabelledPair, ...]:  # noqa: RET503 - `refuse` never returns
    where, first = rows[0]
    names = first.keys()
    for sides in _SIDES:
        if set(sides) <= names:
            return tuple(_pair(place, row, sides) for place, row in rows)
    if names >= _CLUSTERS:
        return tuple(from_clusters(rows, random.Random(seed)))  # noqa: S311 - a draw that can be repeated
    if names >= _INTENTS:
        return tuple(from_intents(rows, random.Random(seed)))  # noqa: S311 - a draw that can be repeated
    if names >= _TURNS:
        return tuple(from_turns(rows))
    if names >= _ARRIVALS:
        refuse(where, "begins a trace of arrival times and token counts, without texts", "Name a file of labels.")
    if any(name in names for name in _PROMPTS):
        refuse(where, "begins a file of prompts without labels", "Play it with `semcache replay FILE`.")
    hint = "Records need a, b and same; cluster and text; intent and text; or history, raw and rewrite."
    refuse(where, "is none of the known formats", hint)


def _pair(where: str, row: Mapping[str, Any], sides: tuple[str, str]) -> LabelledPair:
    same = _label(where, row)
    kind = row.get("kind") or row.get("category") or row.get("subtype") or ""
    return LabelledPair(
        pair_id=str(row.get("id") or where),
        stored=_side(where, sides[0], row.get(sides[0])),
        asked=_side(where, sides[1], row.get(sides[1])),
        same=same,
        kind=str(kind) or ("same" if same else "different"),
        namespace=_name(where, row, "namespace"),
        task_type=_name(where, row, "task_type"),
    )


def _label(where: str, row: Mapping[str, Any]) -> bool:
    labels = [row[name] for name in _LABELS if name in row]
    values = [_read_label(where, label) for label in labels or [None]]
    if len(set(values)) > 1:
        refuse(where, "has two labels that differ", "Keep one of same, same_answer and is_duplicate.")
    return values[0]


def _read_label(where: str, label: Any) -> bool:
    if isinstance(label, str) and label.strip().lower() in _LABEL_WORDS:
        return _LABEL_WORDS[label.strip().lower()]
    if not isinstance(label, int) or label not in {0, 1}:  # JSON's true and false equal 1 and 0.
        refuse(where, f"has the label {str(label)[:40]!r}", "A label is 0, 1, true or false.")
    return bool(label)


def _name(where: str, row: Mapping[str, Any], field: str) -> str:
    name = row.get(field) or ""
    if not isinstance(name, str):
        refuse(where, f"has a {field} that is no string", "Write it as text.")
    return name


def _side(where: str, name: str, side: Any) -> tuple[Message, ...]:
    if isinstance(side, str):
        if not side.strip():
            refuse(where, f"has an empty side {name}", "Fill it, or leave the line out.")
        return user(side)
    if not isinstance(side, list) or not side:
        refuse(where, f"has no side {name}", "A side is a prompt or a list of messages.")
    for message in side:
        if not (
            isinstance(message, dict)
            and message.get("role") in _ROLES
            and isinstance(message.get("content"), str)
            and message["content"].strip()
        ):
            hint = "A message has a role (system, developer, user or assistant) and a text in content."
            refuse(where, f"has a message in {name} without a known role or without text", hint)
    return tuple({"role": message["role"], "content": message["content"]} for message in side)
