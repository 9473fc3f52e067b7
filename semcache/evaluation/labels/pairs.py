"""The labelled pair: two requests, and whether the answer to one answers the other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Message = Mapping[str, str]
EVALUATED_MODEL = "semcache-eval"
"""The model alias of requests that are made from labels: no upstream is ever called for them."""
BACKGROUND = "\0background"
"""The group of prompts of other traffic, about which nothing is labelled. No name in a file begins with a null."""


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two requests and a label.

    Attributes:
        pair_id: the pair's name in messages.
        stored: the messages of the request whose answer is in the cache.
        asked: the messages of the request that is looked up.
        same: whether the answer to `stored` answers `asked`: True for a hit, False for a trap.
        kind: the data's own word for this kind of pair.
        group: the group of pairs that depend on each other, such as a cluster, a conversation or a day of a log; empty
            if the data names none.
        stored_group: the group of the stored text where it is another than `group`; BACKGROUND where the text belongs
            to other traffic; empty if both sides have one group.
        namespace: the namespace whose threshold applies to the pair; empty if the data names none.
        task_type: the task type whose threshold applies to the pair; empty if the data names none.
    """

    pair_id: str
    stored: tuple[Message, ...]
    asked: tuple[Message, ...]
    same: bool
    kind: str
    group: str = ""
    stored_group: str = ""
    namespace: str = ""
    task_type: str = ""

    @property
    def sampled_with(self) -> str:
        """The key of the pairs that depend on each other: a resample draws all of them or none."""
        return self.group or json.dumps(self.stored, sort_keys=True)


@dataclass(frozen=True, slots=True)
class NamedTexts:
    """Texts with the names of their clusters or intents.

    Attributes:
        field: what a name is: "cluster" (its texts share an answer) or "intent" (its texts needn't).
        texts: pairs of (name, text).
    """

    field: str
    texts: tuple[tuple[str, str], ...]

    @property
    def one_answer(self) -> bool:
        """Whether texts with one name share an answer."""
        return self.field == "cluster"


def user(text: str) -> tuple[Message, ...]:
    """Return a conversation of one user message."""
    return ({"role": "user", "content": text},)


def body(messages: Sequence[Message], model: str = EVALUATED_MODEL) -> bytes:
    """Return the OpenAI request body of one side of a pair, as JSON."""
    return json.dumps({"model": model, "messages": list(messages)}, ensure_ascii=False).encode()
