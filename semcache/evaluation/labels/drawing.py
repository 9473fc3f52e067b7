"""Draws labelled pairs from data without pairs: texts by cluster, texts by intent, turns of conversations."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from semcache.evaluation.labels.lines import refuse
from semcache.evaluation.labels.pairs import LabelledPair, Message, NamedTexts, user
from semcache.evaluation.labels.tables import Row


def from_clusters(rows: Sequence[Row], rng: random.Random) -> Iterator[LabelledPair]:
    """Yield two pairs for each text: with another text of its cluster (a hit), and with one of another (a trap)."""
    clusters = _by_name(rows, "cluster")
    names = sorted(clusters)
    for name in names:
        texts = clusters[name]
        for number, text in enumerate(texts):
            stranger = _stranger(clusters, names, name, rng)
            yield LabelledPair(
                f"{name}-{number}-other", user(stranger), user(text), same=False, kind="other cluster", group=name
            )
            if len(texts) > 1:
                fellow = texts[(number + rng.randrange(1, len(texts))) % len(texts)]
                yield LabelledPair(
                    f"{name}-{number}-same", user(fellow), user(text), same=True, kind="same cluster", group=name
                )


def from_intents(rows: Sequence[Row], rng: random.Random) -> Iterator[LabelledPair]:
    """Yield a pair of each text with a text of another intent (a trap).

    No hits are drawn, because texts of one intent needn't share an answer.
    """
    intents = _by_name(rows, "intent")
    names = sorted(intents)
    for name in names:
        for number, text in enumerate(intents[name]):
            stranger = _stranger(intents, names, name, rng)
            yield LabelledPair(
                f"{name}-{number}", user(stranger), user(text), same=False, kind="other intent", group=name
            )


def from_turns(rows: Sequence[Row]) -> Iterator[LabelledPair]:
    """Yield pairs of conversations.

    - A raw text that was seen after another history makes a trap with that earlier conversation.
    - A first turn makes a hit with its rewrite, if the two differ.
    """
    seen: dict[str, tuple[Message, ...]] = {}
    for where, row in rows:
        raw, rewrite, history = row.get("raw"), row.get("rewrite"), row.get("history")
        if not isinstance(raw, str) or not isinstance(rewrite, str) or not isinstance(history, list):
            refuse(where, "has no raw, rewrite or history", "A turn has all three.")
        if not raw.strip() or not rewrite.strip():
            refuse(where, "has an empty raw or rewrite", "Fill it, or leave the line out.")
        name = str(row.get("id", where))
        # The data has no answers, so an ellipsis takes the place of each one.
        turns = [turn for text in history for turn in (*user(str(text)), {"role": "assistant", "content": "…"})]
        conversation = (*turns, *user(raw))
        if raw in seen and seen[raw] != conversation:
            yield LabelledPair(f"{name}-history", seen[raw], conversation, same=False, kind="other history")
        seen.setdefault(raw, conversation)
        if not history and rewrite != raw:
            yield LabelledPair(f"{name}-rewrite", user(rewrite), user(raw), same=True, kind="rewrite")


def named_texts(rows: Sequence[Row], field: str) -> NamedTexts:
    """Return the texts with the names of their clusters or intents, without drawing pairs.

    Args:
        rows: the records of a file.
        field: the field that holds the name: "cluster" or "intent".

    Raises:
        InvalidRequestError: BAD_FILE: a record lacks a text or a name, or there is only one name.
    """
    return NamedTexts(field, tuple((name, text) for name, texts in _by_name(rows, field).items() for text in texts))


def _by_name(rows: Sequence[Row], field: str) -> Mapping[str, list[str]]:
    texts: dict[str, list[str]] = defaultdict(list)
    for where, row in rows:
        text, name = row.get("text"), row.get(field)
        if not isinstance(text, str) or not text.strip() or not isinstance(name, str) or not name.strip():
            refuse(where, f"has no text or no {field}", "Both are strings.")
        texts[name].append(text)
    if len(texts) < 2:
        refuse(rows[0][0], f"begins a file of one {field}", f"Traps need texts of a second {field}.")
    return texts


def _stranger(texts: Mapping[str, Sequence[str]], names: Sequence[str], name: str, rng: random.Random) -> str:
    others = [other for other in names if other != name]
    return rng.choice(texts[rng.choice(others)])
