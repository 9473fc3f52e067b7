"""Reads labelled pairs from files and folders, in every known format."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from semcache.evaluation.labels.drawing import from_clusters, from_intents, from_turns, named_texts
from semcache.evaluation.labels.pairs import LabelledPair, Message, NamedTexts
from semcache.evaluation.records.messages import is_message, messages_of_text, read_message, text_of
from semcache.evaluation.records.objects import conversation_in
from semcache.evaluation.records.reading import JSON_SUFFIXES, TABLE_SUFFIXES, read_records
from semcache.evaluation.records.record import Record, name_of, read_each, refuse, say_nothing, skip
from semcache.evaluation.records.shapes import refuse_promptless, shape_of

_ROLES = frozenset({"system", "developer", "user", "assistant"})
_SIDES = (
    ("a", "b"),
    ("question1", "question2"),
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("prompt1", "prompt2"),
    ("query1", "query2"),
    ("q1", "q2"),
)
"""Plain names of the two sides of a pair."""
_LABELS = (("same", "sameanswer", "isduplicate", "issame", "duplicate", "paraphrase"), ("label", "goldlabel"))
"""Plain names of a pair's label; those of a later group count where there is none of an earlier one."""
_SAME = ("true", "t", "yes", "y", "same", "duplicate", "equivalent", "paraphrase", "hit")
_DIFFERENT = ("false", "f", "no", "n", "different", "trap")
_DIFFERENT_TOO = ("notsame", "notduplicate", "notequivalent", "notparaphrase")
_LABEL_WORDS = {**dict.fromkeys(_SAME, True), **dict.fromkeys((*_DIFFERENT, *_DIFFERENT_TOO), False)}
_NOT_IN_WORD = re.compile(r"[\s_]+|(?<=[a-z])-(?=[a-z])")
_NUMBER = re.compile(r"[01](?:\.0*)?")
_SCORES = ("score", "similarity", "similarityscore", "relatednessscore")
_CLUSTERS, _INTENTS = frozenset({"cluster", "text"}), frozenset({"intent", "text"})
_TURNS = frozenset({"raw", "rewrite", "history"})
_ENTAILMENT = frozenset({"premise", "hypothesis"})
_UNITS = ("unit", "conversation", "conversationid", "day", "cluster", "group")
"""Plain names of the field that says which pairs depend on each other."""
PAIR_HEADERS = (*(frozenset(sides) for sides in _SIDES), _TURNS)
"""Sets of plain field names, each enough to know a file of labelled pairs by."""
LABELLED_HEADERS = (*PAIR_HEADERS, _CLUSTERS, _INTENTS, _ENTAILMENT)
"""Sets of plain field names, each enough to know a file of labels by."""


def load_pairs(
    path: Path, *, seed: int = 1, on_skipped: Callable[[str], None] = say_nothing
) -> tuple[LabelledPair, ...]:
    """Return the pairs of a file, or of all files in a folder.

    The first record of a file decides which format all its records have. Records are JSON objects, or rows of a table
    under a header. In the names of fields, case, spaces, hyphens and underscores don't matter:

    - `{a, b, same | same_answer | label, kind | category | subtype, id}`: a pair. Its sides are prompts or, in JSON,
      lists of messages. `question1` and `question2`, `sentence1` and `sentence2` and the like are sides too, and
      `is_duplicate` is a label too.
    - `{cluster, text}`: texts of one cluster share an answer. Each text is paired with another text of its cluster
      and with one of another cluster, drawn with `seed`.
    - `{intent, text}`: texts of one intent needn't share an answer. Each text makes one trap, drawn with `seed`.
    - `{history, raw, rewrite}`: turns of conversations. A raw text that occurs after different histories makes traps.
      A first turn and its rewrite make a hit if they differ.

    A pair may name its `namespace` and `task_type`, and the `unit`, `conversation`, `day`, `cluster` or `group` whose
    pairs depend on each other.

    Args:
        path: a file or a folder.
        seed: of the random draws; equal seeds give equal pairs.
        on_skipped: called with a sentence for each record that is left out because a side is empty.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    return tuple(pair for file in files_of(path) for pair in _pairs(file, seed, on_skipped))


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the file itself, or all JSON and CSV files in a folder and in the folders below it, by their suffixes.

    Raises:
        InvalidRequestError: BAD_FILE: the folder holds no such file.
    """
    if not path.is_dir():
        return (path,)
    suffixes = JSON_SUFFIXES | TABLE_SUFFIXES
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes)
    if not files:
        refuse(str(path), f"holds no files in {', '.join(sorted(suffixes))}", "Name the files themselves.")
    return tuple(files)


def load_named_texts(path: Path, on_skipped: Callable[[str], None] = say_nothing) -> NamedTexts | None:
    """Return the texts of a file of clusters or intents, for callers that choose pairs by themselves.

    Return None for a file of another format.

    Args:
        path: the file.
        on_skipped: called with a sentence for each record that is left out because its text is empty.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    return _named_texts(read_records(path, LABELLED_HEADERS), on_skipped)


def _named_texts(records: list[Record], on_skipped: Callable[[str], None]) -> NamedTexts | None:
    names = records[0].fields.keys()
    for fields in (_CLUSTERS, _INTENTS):
        if names >= fields:
            (field,) = fields - {"text"}
            return named_texts(records, field, on_skipped)
    return None


def _pairs(path: Path, seed: int, on_skipped: Callable[[str], None]) -> tuple[LabelledPair, ...]:  # noqa: RET503
    records = read_records(path, LABELLED_HEADERS)
    names = records[0].fields.keys()
    for sides in _SIDES:
        if set(sides) <= names:
            return tuple(pair for _, pair in read_each(records, partial(_pair, sides), on_skipped))
    named = _named_texts(records, on_skipped)
    if named is not None:
        rng = random.Random(seed)  # noqa: S311 - a draw that can be repeated
        return tuple(from_clusters(named, rng) if named.one_answer else from_intents(named, rng))
    if names >= _TURNS:
        return tuple(from_turns(records, on_skipped))
    _refuse_unlabelled(path, records[0])


def _refuse_unlabelled(path: Path, first: Record) -> NoReturn:
    """Refuse a file without labels by the kind of its first record."""
    names = first.fields.keys()
    if names >= _ENTAILMENT:
        hint = "Write a, b and same, where same is 1 if the answer to a answers b."
        refuse(first.where, "begins a file of premises and hypotheses, whose labels say what follows from what", hint)
    group = next((name for name in ("category", "label", "topic") if {name, "text"} <= names), None)
    if group is not None:
        problem = f"begins texts by {group}, which doesn't say whether the texts of one {group} share an answer"
        refuse(first.where, problem, f"Rename {group} to cluster if they do, and to intent if they needn't.")
    shape = shape_of(first)
    if shape is not None:
        kind = "" if shape.name == "prompts" else f" ({shape.name})"
        refuse(first.where, f"begins a file of prompts without labels{kind}", "Play it with `semcache replay FILE`.")
    refuse_promptless(path, first)
    hint = "Records need a, b and same; cluster and text; intent and text; or history, raw and rewrite."
    refuse(first.where, "is none of the known formats", hint)


def _pair(sides: tuple[str, str], record: Record) -> LabelledPair:
    stored, asked = (_side(record, name) for name in sides)
    same = _label(record)
    kind = next((record.fields[name] for name in ("kind", "category", "subtype") if record.fields.get(name)), "")
    return LabelledPair(
        pair_id=str(record.fields.get("id") or record.where),
        stored=stored,
        asked=asked,
        same=same,
        kind=str(kind) or ("same" if same else "different"),
        group=_group(record),
        namespace=_name(record, "namespace", "namespace"),
        task_type=_name(record, "task_type", "tasktype"),
    )


def _group(record: Record) -> str:
    """Return the unit that a pair names: pairs of one conversation or one day depend on each other."""
    names = (name_of(record.fields.get(field)) for field in _UNITS)
    return next((name for name in names if name), "")


def _label(record: Record) -> bool:
    groups = ([record.fields[name] for name in names if record.fields.get(name) is not None] for names in _LABELS)
    labels = next((group for group in groups if group), [None])
    values = [_read_label(record, label) for label in labels]
    if len(set(values)) > 1:
        refuse(record.where, "has two labels that differ", "Keep one of same, same_answer and is_duplicate.")
    return values[0]


def _read_label(record: Record, label: Any) -> bool:  # noqa: RET503 - `refuse` never returns
    word = _NOT_IN_WORD.sub("", str(label).casefold())
    if word in _LABEL_WORDS:
        return _LABEL_WORDS[word]
    if _NUMBER.fullmatch(word):
        return word.startswith("1")
    score = next((name for name in _SCORES if name in record.fields), None)
    if label is None and score is not None:
        problem = f"has a {score} and no label, and from which {score} on one answer serves both is yours to say"
        refuse(record.where, problem, "Write same: 1 where it does, else 0.")
    hint = "A label is 0, 1, true, false, yes, no, same or different; a score needs a threshold, which is yours to set."
    refuse(record.where, "has no label" if label is None else f"has the label {str(label)[:40]!r}", hint)


def _name(record: Record, field: str, key: str) -> str:
    name = record.fields.get(key) or ""
    if not isinstance(name, str):
        refuse(record.where, f"has a {field} that is no string", "Write it as text.")
    return name


def _side(record: Record, name: str) -> tuple[Message, ...]:
    if name not in record.fields:
        refuse(record.where, f"has no side {name}", "A side is a prompt or a list of messages.")
    side = record.fields[name]
    if isinstance(side, str):
        if not side.strip():
            skip(record.where, f"has an empty side {name}", "Fill it, or leave the record out.")
        side = conversation_in(side) or messages_of_text(record.where, name, side)
    if isinstance(side, dict) and "messages" in side:
        side = side["messages"]
    if side is None or side == []:
        skip(record.where, f"has no side {name}", "A side is a prompt or a list of messages.")
    if not isinstance(side, list):
        refuse(record.where, f"has a side {name} of another kind", "A side is a prompt or a list of messages.")
    messages = [read_message(item) for item in side if is_message(item)]
    texts = [text_of(message) for message in messages]
    if len(messages) < len(side) or None in texts or not all(message["role"] in _ROLES for message in messages):
        hint = "A message has a role (system, developer, user or assistant) and a text in content."
        refuse(record.where, f"has a message in {name} without a known role or without text", hint)
    return tuple({"role": message["role"], "content": str(text)} for message, text in zip(messages, texts, strict=True))
