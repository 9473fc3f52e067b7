"""Pairs drawn from data that has none: texts by cluster, texts by intent, turns of conversations."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from semcache.evaluation.labels.lines import refuse
from semcache.evaluation.labels.pairs import Message, NamedTexts, Pair, user
from semcache.evaluation.labels.tables import Row


def from_clusters(rows: Sequence[Row], rng: random.Random) -> Iterator[Pair]:
    """Each text with another of its cluster (a hit) and with one of another cluster (a trap)."""
    clusters = _by_name(rows, "cluster")
    names = sorted(clusters)
    for name in names:
        texts = clusters[name]
        for number, text in enumerate(texts):
            stranger = _stranger(clusters, names, name, rng)
            yield Pair(
                f"{name}-{number}-other", user(stranger), user(text), same=False, kind="other cluster", group=name
            )
            if len(texts) > 1:
                fellow = texts[(number + rng.randrange(1, len(texts))) % len(texts)]
                yield Pair(
                    f"{name}-{number}-same", user(fellow), user(text), same=True, kind="same cluster", group=name
                )


def from_intents(rows: Sequence[Row], rng: random.Random) -> Iterator[Pair]:
    """Each text with one of another intent (a trap). One intent is not one answer: no hits are drawn."""
    intents = _by_name(rows, "intent")
    names = sorted(intents)
    for name in names:
        for number, text in enumerate(intents[name]):
            stranger = _stranger(intents, names, name, rng)
            yield Pair(f"{name}-{number}", user(stranger), user(text), same=False, kind="other intent", group=name)


def from_turns(rows: Sequence[Row]) -> Iterator[Pair]:
    """Equal words after another history (traps); first turns and their rewrites, where they differ (hits)."""
    seen: dict[str, tuple[Message, ...]] = {}
    for where, row in rows:
        raw, rewrite, history = row.get("raw"), row.get("rewrite"), row.get("history")
        if not isinstance(raw, str) or not isinstance(rewrite, str) or not isinstance(history, list):
            refuse(where, "has no raw, rewrite or history", "A turn has all three.")
        if not raw.strip() or not rewrite.strip():
            refuse(where, "has an empty raw or rewrite", "Fill it, or leave the line out.")
        name = str(row.get("id", where))
        # The data has no answers: an ellipsis stands for each.
        turns = [turn for text in history for turn in (*user(str(text)), {"role": "assistant", "content": "…"})]
        conversation = (*turns, *user(raw))
        if raw in seen and seen[raw] != conversation:
            yield Pair(f"{name}-history", seen[raw], conversation, same=False, kind="other history")
        seen.setdefault(raw, conversation)
        if not history and rewrite != raw:
            yield Pair(f"{name}-rewrite", user(rewrite), user(raw), same=True, kind="rewrite")


def named_texts(rows: Sequence[Row], field: str) -> NamedTexts:
    """The texts of clusters or intents, undrawn.

    Raises:
        InvalidRequestError: BAD_FILE.
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
        refuse(rows[0][0], f"begins a file of one {field}", "Different answers need a second one.")
    return texts


def _stranger(texts: Mapping[str, Sequence[str]], names: Sequence[str], name: str, rng: random.Random) -> str:
    others = [other for other in names if other != name]
    return rng.choice(texts[rng.choice(others)])
