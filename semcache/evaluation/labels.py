"""Labelled pairs from files: two requests, and whether one's answer answers the other."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semcache.evaluation.lines import parse_object, read_lines, refuse

Message = Mapping[str, str]
_ROLES = frozenset({"system", "developer", "user", "assistant"})


@dataclass(frozen=True, slots=True)
class Pair:
    """Two requests; `same` says that the answer to `stored` answers `asked`. `kind` is the data's own word for it."""

    pair_id: str
    stored: tuple[Message, ...]
    asked: tuple[Message, ...]
    same: bool
    kind: str


def load_pairs(path: Path, *, seed: int = 1) -> tuple[Pair, ...]:  # noqa: RET503 - refusing never returns
    """The pairs of a JSONL file; its first line tells what all lines are.

    - `{a, b, same | same_answer, kind | category | subtype}`: a pair; its sides are prompts or lists of messages.
    - `{cluster, text}`: texts with one answer a cluster; each text is paired with another of its cluster and with one
      of another cluster, drawn with `seed`.
    - `{history, raw, rewrite}`: turns of conversations. A raw text that occurs after different histories makes traps; a
      first turn and its rewrite, where they differ, make hits.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line.
    """
    rows = [(where, parse_object(where, text)) for where, text in read_lines(path)]
    first = rows[0][1]
    if {"a", "b"} <= first.keys():
        return tuple(_pair(where, row) for where, row in rows)
    if {"cluster", "text"} <= first.keys():
        return tuple(_from_clusters(rows, random.Random(seed)))  # noqa: S311 - a draw that can be repeated
    if {"raw", "rewrite", "history"} <= first.keys():
        return tuple(_from_turns(rows))
    refuse(
        rows[0][0], "is none of the known formats", "Lines need a, b and same; cluster and text; or raw and rewrite."
    )


def _pair(where: str, row: Mapping[str, Any]) -> Pair:
    label = row.get("same", row.get("same_answer"))
    if row.get("same_answer", label) != label:
        refuse(where, "has two labels that differ", "Keep same or same_answer.")
    if not isinstance(label, int) or label not in {0, 1}:  # true and false are 1 and 0
        refuse(where, f"has the label {str(label)[:40]!r}", "A label is 0, 1, true or false.")
    kind = row.get("kind") or row.get("category") or row.get("subtype") or ""
    return Pair(
        pair_id=str(row.get("id", where)),
        stored=_side(where, "a", row.get("a")),
        asked=_side(where, "b", row.get("b")),
        same=bool(label),
        kind=str(kind) or ("same" if label else "different"),
    )


def _side(where: str, name: str, side: Any) -> tuple[Message, ...]:
    if isinstance(side, str):
        if not side.strip():
            refuse(where, f"has an empty side {name}", "Fill it, or leave the line out.")
        return (_user(side),)
    if not isinstance(side, list) or not side:
        refuse(where, f"has no side {name}", "A side is a prompt or a list of messages.")
    for message in side:
        if not (
            isinstance(message, dict)
            and message.get("role") in _ROLES
            and isinstance(message.get("content"), str)
            and message["content"].strip()
        ):
            refuse(where, f"has a message in {name} without a known role or without text", "See OpenAI's messages.")
    return tuple({"role": message["role"], "content": message["content"]} for message in side)


def _from_clusters(rows: Sequence[tuple[str, Mapping[str, Any]]], rng: random.Random) -> Iterator[Pair]:
    clusters: dict[str, list[str]] = defaultdict(list)
    for where, row in rows:
        text = row.get("text")
        if not isinstance(text, str) or not text.strip() or not isinstance(row.get("cluster"), str):
            refuse(where, "has no text or no cluster", "Both are strings.")
        clusters[row["cluster"]].append(text)
    if len(clusters) < 2:
        refuse(rows[0][0], "begins a file of one cluster", "Different answers need a second one.")
    names = sorted(clusters)
    for name in names:
        texts = clusters[name]
        others = [other for other in names if other != name]
        for number, text in enumerate(texts):
            stranger = rng.choice(clusters[rng.choice(others)])
            yield Pair(f"{name}-{number}-other", (_user(stranger),), (_user(text),), same=False, kind="other cluster")
            if len(texts) > 1:
                fellow = texts[(number + rng.randrange(1, len(texts))) % len(texts)]
                yield Pair(f"{name}-{number}-same", (_user(fellow),), (_user(text),), same=True, kind="same cluster")


def _from_turns(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Pair]:
    seen: dict[str, tuple[Message, ...]] = {}
    for where, row in rows:
        raw, rewrite, history = row.get("raw"), row.get("rewrite"), row.get("history")
        if not isinstance(raw, str) or not isinstance(rewrite, str) or not isinstance(history, list):
            refuse(where, "has no raw, rewrite or history", "A turn has all three.")
        name = str(row.get("id", where))
        # The data has no answers: an ellipsis stands for each.
        turns = [message for text in history for message in (_user(str(text)), {"role": "assistant", "content": "…"})]
        conversation = (*turns, _user(raw))
        if raw in seen and seen[raw] != conversation:
            yield Pair(f"{name}-history", seen[raw], conversation, same=False, kind="other history")
        seen.setdefault(raw, conversation)
        if not history and rewrite != raw:
            yield Pair(f"{name}-rewrite", (_user(rewrite),), (_user(raw),), same=True, kind="rewrite")


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
