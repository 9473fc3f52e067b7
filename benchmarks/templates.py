"""Measure what naming a template gains: hits served at equal traps served, with and without the template.

`python -m benchmarks.templates`. Questions of Banking77 are filled into a support template with a language slot. Hits:
another wording of the same intent in the same language. Traps: a near question of another intent, and the same question
in another language. The decision is the shipped one at every threshold; without the template it sees the whole prompt.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurements import Measurement, report
from benchmarks.worker import ROOT
from semcache.decision import Decider, Reading
from semcache.embedding import open_embedder
from semcache.model import is_vetoed
from semcache.ports import Embedder
from semcache.settings import DecisionSettings, EmbeddingSettings

TEMPLATE = (
    "You answer customers of a bank. Be polite, use at most four sentences and no jargon, and never ask for a PIN. "
    "Answer in {language}. The customer writes: {question}"
)
LANGUAGES = ("English", "German", "French")
QUESTIONS = 900
ROUNDS = 5
TRAPS_SERVED = (0.01, 0.02, 0.05)


@dataclass(frozen=True, slots=True)
class Case:
    """Two uses of the template, and whether the answer to one answers the other."""

    asked: tuple[str, str]
    stored: tuple[str, str]
    same: bool


def questions() -> dict[str, list[str]]:
    """Return texts by intent."""
    folder = Path(os.environ.get("SEMCACHE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    file = folder / "clusters" / "banking77_dev.jsonl"
    if not file.exists():
        sys.exit(f"the questions of Banking77 aren't at {file}: name their folder in SEMCACHE_SHARED_DATA")
    found: dict[str, list[str]] = {}
    for line in file.read_text("utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["cluster"], []).append(row["text"])
    return found


def cases(clusters: dict[str, list[str]], vectors: dict[str, NDArray[np.float32]], seed: int) -> list[Case]:
    """Return hits and both kinds of traps for questions drawn with `seed`."""
    chance = np.random.default_rng(seed)
    texts = [(name, text) for name in sorted(clusters) for text in clusters[name]]
    matrix = np.stack([vectors[text] for _, text in texts])
    names = np.array([name for name, _ in texts])
    found = []
    for position in chance.choice(len(texts), QUESTIONS, replace=False):
        name, text = texts[position]
        similarities = matrix @ matrix[position]
        similarities[position] = -1
        language, other = chance.permutation(LANGUAGES)[:2]
        fellow = chance.choice(np.flatnonzero(names == name))
        stranger = int(np.argmax(np.where(names == name, -1, similarities)))
        found.append(Case((language, text), (language, texts[fellow][1]), same=True))
        found.append(Case((language, text), (language, texts[stranger][1]), same=False))
        found.append(Case((language, text), (other, text), same=False))
    return found


def scores(some: list[Case], vectors: dict[str, NDArray[np.float32]], *, template: bool) -> NDArray[np.float64]:
    """Return each case's score; −1 where a veto or another short slot forbids serving."""
    settings = DecisionSettings()
    decider = Decider(settings)
    found = []
    for case in some:
        if template and case.asked[0] != case.stored[0]:
            found.append(-1.0)
            continue
        asked, stored = (side[1] if template else filled(*side) for side in (case.asked, case.stored))
        readings = [Reading(decider.features(text)) for text in (asked, stored)]
        score, verdicts = decider.compare_readings(*readings, float(vectors[asked] @ vectors[stored]))
        found.append(-1.0 if is_vetoed(verdicts) else score)
    return np.array(found)


def filled(language: str, question: str) -> str:
    return TEMPLATE.format(language=language, question=question)


def hits_at(scored: NDArray[np.float64], same: NDArray[np.bool_], share: float) -> float:
    """Return the share of hits served by the lowest threshold that serves at most `share` of the traps."""
    traps = np.sort(scored[~same])[::-1]
    bar = max(traps[int(share * len(traps))], -1.0)
    return float((scored[same] > bar).mean())


async def embedded(embedder: Embedder, texts: list[str]) -> dict[str, NDArray[np.float32]]:
    found: dict[str, NDArray[np.float32]] = {}
    for start in range(0, len(texts), 256):
        part = texts[start : start + 256]
        found.update(zip(part, await embedder.embed(part), strict=True))
    return found


async def main() -> None:
    clusters = questions()
    embedder = open_embedder(EmbeddingSettings())
    chance = np.random.default_rng(7)
    # A fifth of the questions is enough, and the filled prompts are long.
    part = {
        name: [str(t) for t in chance.permutation(texts)[: max(2, len(texts) // 5)]] for name, texts in clusters.items()
    }
    alone = await embedded(embedder, sorted({text for texts in part.values() for text in texts}))
    rounds = [cases(part, alone, seed) for seed in range(ROUNDS)]
    sides = {filled(*side) for some in rounds for case in some for side in (case.asked, case.stored)}
    whole = await embedded(embedder, sorted(sides))
    measurements = []
    for share in TRAPS_SERVED:
        with_template, without = [], []
        for some in rounds:
            same = np.array([case.same for case in some])
            with_template.append(100 * hits_at(scores(some, alone, template=True), same, share))
            without.append(100 * hits_at(scores(some, whole, template=False), same, share))
        gains = tuple(a - b for a, b in zip(with_template, without, strict=True))
        percent = f"at most {share:.0%} of the traps served"
        measurements += [
            Measurement(f"hits served with the template, {percent}", "%", tuple(with_template)),
            Measurement(f"hits served without, {percent}", "%", tuple(without)),
            Measurement(f"gained, {percent}", "%", gains, at_least=0),
        ]
    report(
        "templates",
        measurements,
        notes=[
            (
                f"{QUESTIONS} hits and {2 * QUESTIONS:,} traps a round, {ROUNDS} rounds drawn anew; half of the traps "
                "are the nearest question of another intent, half the same question in another language."
            )
        ],
    )
    await embedder.close()


if __name__ == "__main__":
    asyncio.run(main())
