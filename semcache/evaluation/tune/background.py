"""Reads prompts of other traffic, and lets labelled pairs meet them: a store holds more than one labelled text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from semcache.evaluation.labels.pairs import BACKGROUND, LabelledPair, user
from semcache.evaluation.records.record import say_nothing
from semcache.evaluation.replay.workload import load_workload
from semcache.evaluation.tune.comparing import ComparedPair, Relation, embed_all, keying_of
from semcache.evaluation.tune.pair_scores import Requests
from semcache.evaluation.tune.traffic import LEAST_COSINE, LaidOut, by_meaning
from semcache.model import Vector
from semcache.ports import Embedder
from semcache.settings import Settings

_SHIPPED = Path(__file__).resolve().parent / "background.txt"


def shipped_background() -> tuple[str, ...]:
    """Return the prompts that ship: 414 questions of ten domains, of which no two share an answer."""
    return tuple(_SHIPPED.read_text("utf-8").splitlines())


def read_background(path: Path, on_skipped: Callable[[str], None] = say_nothing) -> tuple[str, ...]:
    """Return the prompts of a file, in every form that `semcache replay` reads. Only single messages of users count.

    Args:
        path: the file.
        on_skipped: called with a sentence for each record that is left out.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line; also for a file that holds nothing.
    """
    prompts = []
    for request in load_workload(path, model="semcache-eval", on_skipped=on_skipped):
        messages = json.loads(request.body)["messages"]
        content = messages[0].get("content") if len(messages) == 1 and messages[0].get("role") == "user" else None
        if isinstance(content, str) and content.strip():
            prompts.append(content)
        else:
            on_skipped("A conversation, or a message that isn't a user's text, meets no labelled text: it is left out.")
    return tuple(dict.fromkeys(prompts))


async def meet_background(
    compared: Sequence[ComparedPair],
    background: Sequence[str],
    embedder: Embedder,
    settings: Settings,
    known: Mapping[str, Vector],
) -> LaidOut:
    """Return each pair's request with its candidates: the labelled one and the nearest prompts of other traffic.

    A conversation lies in another partition than single prompts and meets none of them. What such a prompt answers is
    unknown, and counts as wrong.

    Args:
        compared: pairs whose similarity is known.
        background: prompts of other traffic. Those that equal a labelled text are left out.
        embedder: embeds what isn't `known`.
        settings: cacheability, limits and the number of candidates are read.
        known: vectors by text.

    Raises:
        EmbeddingFailedError: the model failed.
    """
    keying, k = keying_of(settings, embedder), settings.decision.k
    labelled = {side[-1]["content"] for item in compared for side in (item.pair.asked, item.pair.stored)}
    others = [text for text in dict.fromkeys(background) if text not in labelled and by_meaning(keying, text)]
    meeting = [
        number
        for number, item in enumerate(compared)
        if item.relation is not Relation.EXACT
        and item.pair.asked == user(item.pair.asked[-1]["content"])
        and by_meaning(keying, item.pair.asked[-1]["content"])
    ]
    candidates = np.full((len(compared), k), -1, np.int64)
    candidates[:, 0] = np.arange(len(compared))
    if not others or not meeting:
        return LaidOut(tuple(compared), Requests(candidates, np.ones(len(compared))))
    wanted = dict.fromkeys([*others, *(compared[number].asked for number in meeting)])
    vectors = {**known, **await embed_all([text for text in wanted if text not in known], embedder, lambda _: None)}
    matrix = np.stack([vectors[text] for text in others])
    every = list(compared)
    for number in meeting:
        item = compared[number]
        cosines = matrix @ vectors[item.asked]
        near = [int(other) for other in np.argsort(-cosines)[:k] if cosines[other] >= LEAST_COSINE]
        own = -np.inf if item.similarity is None else item.similarity
        ranked = sorted([(-own, -1), *((-float(cosines[other]), other) for other in near)])[:k]
        for place, (negative, other) in enumerate(ranked):
            candidates[number, place] = number if other < 0 else len(every)
            if other >= 0:
                every.append(_meeting(item, others[other], -negative))
    return LaidOut(tuple(every), Requests(candidates, np.ones(len(compared))))


def _meeting(item: ComparedPair, prompt: str, similarity: float) -> ComparedPair:
    pair = LabelledPair(
        f"{item.pair.pair_id}-other",
        user(prompt),
        item.pair.asked,
        same=False,
        kind="other traffic",
        group=item.pair.group,
        stored_group=BACKGROUND,
        namespace=item.pair.namespace,
        task_type=item.pair.task_type,
    )
    return ComparedPair(
        pair, Relation.COMPARED, item.asked, prompt, similarity, prompt_tokens=item.prompt_tokens,
        cost_nanousd=item.cost_nanousd,
    )  # fmt: skip
