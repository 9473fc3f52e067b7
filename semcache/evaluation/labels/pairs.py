"""A labelled pair: two requests, and whether one's answer answers the other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Message = Mapping[str, str]
EVALUATED_MODEL = "semcache-eval"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two requests; `same` says that the answer to `stored` answers `asked`. `kind` is the data's own word for it.

    Attributes:
        group: pairs of one group aren't independent of each other (they share a cluster); empty: the stored text
            stands for it.
        namespace: whose threshold holds for the pair, as the data says it; empty where it doesn't.
        task_type: the same for task types.
    """

    pair_id: str
    stored: tuple[Message, ...]
    asked: tuple[Message, ...]
    same: bool
    kind: str
    group: str = ""
    namespace: str = ""
    task_type: str = ""

    @property
    def sampled_with(self) -> str:
        """What pairs have in common that may only be resampled together."""
        return self.group or json.dumps(self.stored, sort_keys=True)


@dataclass(frozen=True, slots=True)
class NamedTexts:
    """Texts as (name, text), the name being what `field` says: a cluster, whose texts share an answer, or an intent."""

    field: str
    texts: tuple[tuple[str, str], ...]

    @property
    def one_answer(self) -> bool:
        """Whether texts of one name share an answer."""
        return self.field == "cluster"


def user(text: str) -> tuple[Message, ...]:
    """A conversation of one user message."""
    return ({"role": "user", "content": text},)


def body(messages: Sequence[Message], model: str = EVALUATED_MODEL) -> bytes:
    """The OpenAI request of a side."""
    return json.dumps({"model": model, "messages": list(messages)}, ensure_ascii=False).encode()
