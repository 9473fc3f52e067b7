"""Labelled files → cases: an answered request, another request, and whether the same answer is right for both."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, pairwise
from pathlib import Path
from typing import Any

from semcache.evaluation.lines import Line, Message, as_object, is_text, messages_of, read_lines, refuse, text_of

_FORMS = (
    "Known forms: {a, b, same} or {a, b, same_answer}, each side a text or a list of messages; {cluster, text}; "
    "{history, raw, rewrite}."
)
_SAME_CLUSTER, _OTHER_CLUSTER = "same_cluster", "other_cluster"
_REWRITE, _OTHER_CONTEXT = "standalone_rewrite", "same_turn_other_context"


@dataclass(frozen=True, slots=True)
class Case:
    """One question to the cache: `stored` is answered already; may `asked` be served that answer?

    Attributes:
        file: the file that it comes from.
        case_id: the file's own id, else the line.
        kind: the file's own name for what tells the sides apart.
        stored: messages, OpenAI-shaped.
        asked: messages, OpenAI-shaped.
        same_answer: true for a hit to be served, false for a trap.
    """

    file: str
    case_id: str
    kind: str
    stored: Sequence[Message]
    asked: Sequence[Message]
    same_answer: bool


@dataclass(frozen=True, slots=True)
class _Member:
    cluster: str
    text: str
    text_id: str


_MemberPair = tuple[_Member, _Member]


@dataclass(frozen=True, slots=True)
class _Turn:
    turn_id: str
    history: tuple[str, ...]
    raw: str
    rewrite: str

    @property
    def messages(self) -> Sequence[Message]:
        return tuple({"role": "user", "content": text} for text in (*self.history, self.raw))


def load_cases(path: Path, *, sample: int, seed: int) -> tuple[Case, ...]:
    """The cases of a file of any known form, told by the fields of its first line.

    - Pairs and conversations: a case a line.
    - Clusters: `sample` pairs within clusters are hits, `sample` across clusters are traps, drawn by `seed`.
    - Turns with a history and a rewrite: a turn and the standalone rewrite of it are a hit; the same turn after
      another history, where its rewrite is another, is a trap. The histories hold users' turns alone, and are sent so.

    Raises:
        InvalidRequestError: BAD_FILE, with the line; also where a file has no case to play.
    """
    lines = read_lines(path)
    first = next(lines)
    fields = as_object(first)
    parsed = _parsed(first, fields, lines)
    if {"a", "b"} <= fields.keys():
        return tuple(_pair(str(path), line, item) for line, item in parsed)
    if {"cluster", "text"} <= fields.keys():
        cases = _from_clusters(path, parsed, sample, seed)
    elif {"history", "raw", "rewrite"} <= fields.keys():
        cases = _from_turns(path, parsed)
    else:
        refuse(first.where, "is in no known format", _FORMS)
    if not cases:
        refuse(
            str(path), "holds nothing to compare", "Give clusters of several texts, or turns that need their history."
        )
    return cases


def _parsed(first: Line, fields: Mapping[str, Any], others: Iterator[Line]) -> Iterator[tuple[Line, Mapping[str, Any]]]:
    yield first, fields
    for line in others:
        yield line, as_object(line)


def _pair(file: str, line: Line, fields: Mapping[str, Any]) -> Case:
    _demand(line, fields, ("a", "b"))
    labels = [fields[name] for name in ("same", "same_answer") if name in fields]
    hint = 'Write "same": 0 or 1, or "same_answer": true or false.'
    if not labels:
        refuse(line.where, "has no label", hint)
    for label in labels:
        # 1.0 equals 1 and True; a label is none of the numbers between, so floats are refused as such.
        if not isinstance(label, int) or label not in {0, 1} or label != labels[0]:
            refuse(line.where, "has a label other than 0, 1, true and false, or two that disagree", hint)
    kinds = [fields[name] for name in ("kind", "category", "subtype") if fields.get(name)]
    kind = kinds[0] if kinds else "pair"
    if not isinstance(kind, str):
        refuse(line.where, "has a kind that is not a string", "Write kind, category or subtype as text.")
    return Case(
        file=file,
        case_id=_id(line, fields),
        kind=kind,
        stored=messages_of(line, "a", fields["a"]),
        asked=messages_of(line, "b", fields["b"]),
        same_answer=bool(labels[0]),
    )


def _from_clusters(
    path: Path, parsed: Iterator[tuple[Line, Mapping[str, Any]]], sample: int, seed: int
) -> tuple[Case, ...]:
    clusters: dict[str, dict[str, str]] = {}
    for line, fields in parsed:
        _demand(line, fields, ("cluster", "text"))
        texts = clusters.setdefault(text_of(line, fields, "cluster"), {})
        texts.setdefault(text_of(line, fields, "text"), _id(line, fields))
    chance = random.Random(seed)  # noqa: S311 - a sample that can be drawn again
    members = {name: [_Member(name, text, of) for text, of in texts.items()] for name, texts in clusters.items()}
    drawn = (
        (_SAME_CLUSTER, _draw_within([texts for texts in members.values() if len(texts) > 1], sample, chance)),
        (_OTHER_CLUSTER, _draw_across(list(members.values()), sample, chance)),
    )
    return tuple(
        Case(
            file=str(path),
            case_id=f"{a.text_id} {b.text_id}",
            kind=kind,
            stored=_one(a.text),
            asked=_one(b.text),
            same_answer=kind == _SAME_CLUSTER,
        )
        for kind, pairs in drawn
        for a, b in pairs
    )


def _draw_within(clusters: Sequence[Sequence[_Member]], count: int, chance: random.Random) -> list[_MemberPair]:
    """Distinct pairs within clusters, each of all pairs as likely as another."""
    sizes = [len(texts) * (len(texts) - 1) // 2 for texts in clusters]
    if sum(sizes) <= 2 * count:  # Few: drawing the last of them by chance would take long.
        listed = [pair for texts in clusters for pair in combinations(texts, 2)]
        return chance.sample(listed, min(count, len(listed)))
    drawn: dict[_MemberPair, None] = {}
    while len(drawn) < count:
        (texts,) = chance.choices(clusters, sizes)
        first, second = sorted(chance.sample(range(len(texts)), 2))
        drawn[texts[first], texts[second]] = None
    return list(drawn)


def _draw_across(clusters: Sequence[Sequence[_Member]], count: int, chance: random.Random) -> list[_MemberPair]:
    """Distinct pairs across clusters, each of all pairs as likely as another."""
    texts = [member for members in clusters for member in members]
    ends = [len(members) for members in clusters]
    across = (len(texts) ** 2 - sum(size**2 for size in ends)) // 2
    if across <= 2 * count:
        listed = [(a, b) for one, other in combinations(clusters, 2) for a in one for b in other]
        return chance.sample(listed, min(count, len(listed)))
    starts = [0, *accumulate(ends)]
    drawn: dict[_MemberPair, None] = {}
    while len(drawn) < count:
        # The first side by how many partners it has, the second from all that are not of its cluster.
        (cluster,) = chance.choices(range(len(clusters)), [size * (len(texts) - size) for size in ends])
        first = chance.randrange(starts[cluster], starts[cluster + 1])
        second = chance.randrange(len(texts) - ends[cluster])
        second += ends[cluster] if second >= starts[cluster] else 0
        low, high = sorted((first, second))
        drawn[texts[low], texts[high]] = None
    return list(drawn)


def _from_turns(path: Path, parsed: Iterator[tuple[Line, Mapping[str, Any]]]) -> tuple[Case, ...]:
    rewrites, others = [], []
    same_turns: dict[str, list[_Turn]] = {}
    for line, fields in parsed:
        turn = _turn(line, fields)
        if _plain(turn.raw) != _plain(turn.rewrite):
            rewrites.append(
                Case(str(path), turn.turn_id, _REWRITE, _one(turn.rewrite), turn.messages, same_answer=True)
            )
        same_turns.setdefault(_plain(turn.raw), []).append(turn)
    for turns in same_turns.values():
        for one, other in pairwise(turns):
            if one.history != other.history and _plain(one.rewrite) != _plain(other.rewrite):
                case_id = f"{one.turn_id} {other.turn_id}"
                others.append(Case(str(path), case_id, _OTHER_CONTEXT, one.messages, other.messages, same_answer=False))
    return (*rewrites, *others)


def _turn(line: Line, fields: Mapping[str, Any]) -> _Turn:
    _demand(line, fields, ("history", "raw", "rewrite"))
    history = fields["history"]
    if not isinstance(history, list) or not all(map(is_text, history)):
        refuse(line.where, "has a history that is not a list of texts", "Write the earlier turns as strings.")
    return _Turn(_id(line, fields), tuple(history), text_of(line, fields, "raw"), text_of(line, fields, "rewrite"))


def _one(text: str) -> Sequence[Message]:
    return ({"role": "user", "content": text},)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _id(line: Line, fields: Mapping[str, Any]) -> str:
    return str(fields.get("id") or line.where)


def _demand(line: Line, fields: Mapping[str, Any], names: Sequence[str]) -> None:
    missing = [name for name in names if name not in fields]
    if missing:
        refuse(line.where, f"lacks {' and '.join(missing)}, which the first line has", _FORMS)
