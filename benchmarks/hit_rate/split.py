"""Split the data into the part that settings are chosen on and the part that is reported; `python -m …split` makes it.

It holds names of clusters, intents and topics, and numbers of pairs and prompts; no texts.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.hit_rate.prompts import connected, dolly, labelled_pairs, lines
from benchmarks.shared_data import folder

FILE = Path(__file__).resolve().parent / "split.json"
SEED = 2026
Split = Mapping[str, Mapping[str, list[str]]]


def read() -> Split:
    """Return, for each set, the names in either part."""
    split: Split = json.loads(FILE.read_text(encoding="utf-8"))
    return split


def make(data: Path) -> Split:
    """Give half of each set's names to either part, with a fixed seed; pairs that share a text stay together."""
    chance = random.Random(SEED)
    pairs = labelled_pairs(data / "fow_cache/pairs.jsonl")
    groups = connected(pairs)
    chance.shuffle(groups)
    # Kind by kind, largest groups first, so that both parts get equally many of each.
    groups.sort(key=lambda group: (min(pair.kind for pair in group), -len(group)))
    fow: dict[str, list[str]] = {"tuning": [], "reported": []}
    for group in groups:
        smaller = min(fow, key=lambda part: len(fow[part]))
        fow[smaller] += [pair.pair_id for pair in group]
    return {
        "banking77": _halved({row["cluster"] for row in lines(data / "clusters/banking77_dev.jsonl")}, chance),
        "clinc150": _halved({row["intent"] for row in lines(data / "traffic/clinc150_dev.jsonl")}, chance),
        "arena_hard": _halved({row["uid"] for row in lines(data / "prompts/arena_hard_v0.1_question.jsonl")}, chance),
        "trec_cast": _halved({row["topic"] for row in lines(data / "conversations/trec_cast_2019_2020.jsonl")}, chance),
        "dolly": _halved((name for name, _ in dolly(data)), chance),
        "fow_cache": {part: sorted(ids) for part, ids in fow.items()},
    }


def _halved(names: Iterable[str], chance: random.Random) -> dict[str, list[str]]:
    shuffled = sorted(names)
    chance.shuffle(shuffled)
    half = len(shuffled) // 2
    return {"tuning": sorted(shuffled[:half]), "reported": sorted(shuffled[half:])}


def _as_text(split: Split) -> str:
    """Return JSON with a line for each part of a set."""
    sets = [
        f'  "{name}": {{\n'
        + ",\n".join(f'    "{part}": {json.dumps(names, ensure_ascii=False)}' for part, names in parts.items())
        + "\n  }"
        for name, parts in split.items()
    ]
    return "{\n" + ",\n".join(sets) + "\n}\n"


def main() -> None:
    data = folder()
    if data is None:
        sys.exit("The split is made from the shared data. Set SEMCACHE_SHARED_DATA to its folder.")
    FILE.write_text(_as_text(make(data)), encoding="utf-8")
    print(f"written to {FILE}")


if __name__ == "__main__":
    main()
