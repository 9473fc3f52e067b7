"""Draws labelled pairs from data without pairs: texts by cluster, texts by intent, turns of conversations."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from semcache.evaluation.labels.pairs import LabelledPair, Message, NamedTexts, user
from semcache.evaluation.records.record import Record, name_of, read_each, refuse, skip


def from_clusters(named: NamedTexts, rng: random.Random) -> Iterator[LabelledPair]:
    """Yield two pairs for each text: with another text of its cluster (a hit), and with one of another (a trap)."""
    clusters = _by_name(named)
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


def from_intents(named: NamedTexts, rng: random.Random) -> Iterator[LabelledPair]:
    """Yield a pair of each text with a text of another intent (a trap).

    No hits are drawn, because texts of one intent needn't share an answer.
    """
    intents = _by_name(named)
    names = sorted(intents)
    for name in names:
        for number, text in enumerate(intents[name]):
            stranger = _stranger(intents, names, name, rng)
            yield LabelledPair(
                f"{name}-{number}", user(stranger), user(text), same=False, kind="other intent", group=name
            )


def from_turns(records: Sequence[Record], on_skipped: Callable[[str], None]) -> Iterator[LabelledPair]:
    """Yield pairs of conversations.

    - A raw text that was seen after another history makes a trap with that earlier conversation.
    - A first turn makes a hit with its rewrite, if the two differ.
    """
    seen: dict[str, tuple[Message, ...]] = {}
    for record, (raw, rewrite, history) in read_each(records, _turn, on_skipped):
        name = str(record.fields.get("id", record.where))
        # The data has no answers, so an ellipsis takes the place of each one.
        turns = [turn for text in history for turn in (*user(str(text)), {"role": "assistant", "content": "…"})]
        conversation = (*turns, *user(raw))
        if raw in seen and seen[raw] != conversation:
            yield LabelledPair(f"{name}-history", seen[raw], conversation, same=False, kind="other history")
        seen.setdefault(raw, conversation)
        if not history and rewrite != raw:
            yield LabelledPair(f"{name}-rewrite", user(rewrite), user(raw), same=True, kind="rewrite")


def named_texts(records: Sequence[Record], field: str, on_skipped: Callable[[str], None]) -> NamedTexts:
    """Return the texts with the names of their clusters or intents, without drawing pairs.

    Args:
        records: the records of a file.
        field: the field that holds the name: "cluster" or "intent".
        on_skipped: called with a sentence for each record that is left out because its text is empty.

    Raises:
        InvalidRequestError: BAD_FILE: a record lacks a text or a name, or there is only one name.
    """
    texts: dict[str, list[str]] = defaultdict(list)
    for _, (name, text) in read_each(records, lambda record: _named(record, field), on_skipped):
        texts[name].append(text)
    if len(texts) < 2:
        refuse(records[0].where, f"begins a file of one {field}", f"Traps need texts of a second {field}.")
    return NamedTexts(field, tuple((name, text) for name in texts for text in texts[name]))


def _turn(record: Record) -> tuple[str, str, list[object]]:
    raw, rewrite, history = (record.fields.get(name) for name in ("raw", "rewrite", "history"))
    if not isinstance(raw, str) or not isinstance(rewrite, str) or not isinstance(history, list):
        refuse(record.where, "has no raw, rewrite or history", "A turn has all three.")
    if not raw.strip() or not rewrite.strip():
        skip(record.where, "has an empty raw or rewrite", "Fill it, or leave the line out.")
    return raw, rewrite, history


def _named(record: Record, field: str) -> tuple[str, str]:
    text, name = record.fields.get("text"), name_of(record.fields.get(field))
    if text is None or (isinstance(text, str) and not text.strip()):
        skip(record.where, "has no text", "Fill it, or leave the line out.")
    if not isinstance(text, str) or name is None or not name.strip():
        refuse(record.where, f"has no text or no {field}", f"The text is a string, the {field} a string or a number.")
    return name, text


def _by_name(named: NamedTexts) -> Mapping[str, list[str]]:
    texts: dict[str, list[str]] = defaultdict(list)
    for name, text in named.texts:
        texts[name].append(text)
    return texts


def _stranger(texts: Mapping[str, Sequence[str]], names: Sequence[str], name: str, rng: random.Random) -> str:
    others = [other for other in names if other != name]
    return rng.choice(texts[rng.choice(others)])
