"""Read prompts with the label of their answer, and the corpora that streams are drawn from."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Prompt:
    """`label` names its answer: two prompts share one exactly when their answers are the same. `source`: its set."""

    text: str
    label: str
    source: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """The prompts that streams are drawn from; no text occurs in two of the three parts.

    Attributes:
        clusters: prompts with one answer, by label: drawn again and again.
        unique: prompts of which each has an answer of its own: they must miss.
        paired: both sides of labelled pairs; the sides of a trap have two labels, those of a hit one.
        traps: the kind of each trap, by its two texts.
    """

    clusters: Mapping[str, tuple[Prompt, ...]]
    unique: tuple[Prompt, ...]
    paired: tuple[Prompt, ...]
    traps: Mapping[frozenset[str], str]


def without_traps(corpus: Corpus) -> Corpus:
    """Return the corpus without the sides of traps, which were edited to be near misses; true pairs stay."""
    trapping = {text for sides in corpus.traps for text in sides}
    kept = tuple(prompt for prompt in corpus.paired if prompt.text not in trapping)
    return Corpus(corpus.clusters, corpus.unique, kept, {})


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two texts, whether they share an answer, and the data's word for the kind."""

    pair_id: str
    a: str
    b: str
    same: bool
    kind: str


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Return the records of a JSON lines file."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def folded(text: str) -> str:
    """Return a text without case, punctuation and white space: texts that are equal then get one label in all sets."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def labelled_pairs(path: Path) -> tuple[LabelledPair, ...]:
    """Return pairs of single prompts, from fow-cache's or the project's own format."""
    return tuple(
        LabelledPair(
            str(row["id"]),
            row["a"],
            row["b"],
            bool(row["same_answer"] if "same_answer" in row else row["same"]),
            row["category"] if "category" in row else row["kind"],
        )
        for row in lines(path)
    )


def answers_of(pairs: Iterable[LabelledPair], prefix: str) -> dict[str, str]:
    """Return a label for each text: texts that a chain of hits connects share the label of the chain's first pair."""
    roots: dict[str, str] = {}

    def root(text: str) -> str:
        while roots[text] != text:
            text = roots[text]
        return text

    first_pair: dict[str, str] = {}
    for pair in pairs:
        for side, text in (("a", pair.a), ("b", pair.b)):
            roots.setdefault(text, text)
            first_pair.setdefault(text, f"{pair.pair_id}/{side}")
        if pair.same:
            roots[root(pair.b)] = root(pair.a)
    return {text: f"{prefix}:{first_pair[root(text)]}" for text in roots}


def connected(pairs: Iterable[LabelledPair]) -> list[tuple[LabelledPair, ...]]:
    """Return pairs in groups that share texts: a split may not separate them."""
    alike = answers_of((LabelledPair(p.pair_id, p.a, p.b, same=True, kind=p.kind) for p in pairs), "")
    groups: dict[str, list[LabelledPair]] = defaultdict(list)
    for pair in pairs:
        groups[alike[pair.a]].append(pair)
    return [tuple(group) for group in groups.values()]


def paired_prompts(pairs: Iterable[LabelledPair], source: str) -> tuple[tuple[Prompt, ...], dict[frozenset[str], str]]:
    """Return the sides of pairs and the kinds of the traps, without traps whose sides a chain of hits connects."""
    chosen = tuple(pairs)
    answers = answers_of(chosen, source)
    traps = {frozenset((p.a, p.b)): p.kind for p in chosen if not p.same and answers[p.a] != answers[p.b]}
    return tuple(Prompt(text, label, source) for text, label in answers.items()), traps


def own_corpora(pairs: Path) -> dict[str, Corpus]:
    """Return the project's own pairs, in turn to two parts: answers with two texts or more stand for clusters."""
    dealt: dict[str, list[LabelledPair]] = {"tuning": [], "reported": []}
    for number, group in enumerate(connected(labelled_pairs(pairs))):
        dealt["reported" if number % 2 else "tuning"] += group
    corpora = {}
    for part, chosen in dealt.items():
        prompts, traps = paired_prompts(chosen, "own")
        by_label: dict[str, list[Prompt]] = defaultdict(list)
        for prompt in prompts:
            by_label[prompt.label].append(prompt)
        corpora[part] = Corpus(
            clusters={label: tuple(some) for label, some in by_label.items() if len(some) > 1},
            unique=(),
            paired=tuple(some[0] for some in by_label.values() if len(some) == 1),
            traps=traps,
        )
    return corpora


def shared_corpora(data: Path, split: Mapping[str, Mapping[str, list[str]]]) -> dict[str, Corpus]:
    """Return the shared data in the split's two parts.

    One prompt an intent of CLINC150 (its out-of-scope ones all): within an intent many are paraphrases of each other,
    and no label says which.
    """
    parts = {
        source: {name: part for part, names in by_part.items() for name in names} for source, by_part in split.items()
    }
    corpora: dict[str, Corpus] = {}
    pairs = labelled_pairs(data / "fow_cache/pairs.jsonl")
    for part in ("tuning", "reported"):
        chosen = [pair for pair in pairs if parts["fow_cache"][pair.pair_id] == part]
        paired, traps = paired_prompts(chosen, "fow_cache")
        seen = {folded(prompt.text) for prompt in paired}
        unique = [
            prompt
            for name, prompt in _unique(data)
            if parts[prompt.source][name] == part and _is_new(prompt.text, seen)
        ]
        clusters = {
            label: some
            for label, prompts in _clusters(data).items()
            if parts["banking77"][label.partition(":")[2]] == part
            and (some := tuple(prompt for prompt in prompts if folded(prompt.text) not in seen))
        }
        corpora[part] = Corpus(clusters, tuple(unique), paired, traps)
    return corpora


def _unique(data: Path) -> Iterator[tuple[str, Prompt]]:
    """Return prompts that must miss, each with its name in the split."""
    intents: set[str] = set()
    for row in lines(data / "traffic/clinc150_dev.jsonl"):
        intent, text = row["intent"], row["text"].strip()
        if intent == "oos" or intent not in intents:
            intents.add(intent)
            yield intent, Prompt(text, f"clinc150:{text}", "clinc150")
    for row in lines(data / "prompts/arena_hard_v0.1_question.jsonl"):
        yield row["uid"], Prompt(row["prompt"].strip(), f"arena_hard:{row['uid']}", "arena_hard")
    for row in lines(data / "conversations/trec_cast_2019_2020.jsonl"):
        yield row["topic"], Prompt(row["rewrite"].strip(), f"trec_cast:{row['id']}", "trec_cast")
    for name, text in dolly(data):
        yield name, Prompt(text, f"dolly:{name}", "dolly")


def dolly(data: Path) -> Iterator[tuple[str, str]]:
    """Return names and texts of Dolly's prompts, which have no ids of their own."""
    with (data / "prompts_sa/dolly_263.csv").open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            yield f"row-{number}", row["prompt"].strip()


def _is_new(text: str, seen: set[str]) -> bool:
    """Return whether no text like this was seen before, and remember it."""
    count = len(seen)
    seen.add(folded(text))
    return len(seen) > count


def _clusters(data: Path) -> dict[str, tuple[Prompt, ...]]:
    """Return Banking77's texts by intent, without texts that have two intents."""
    names: dict[str, set[str]] = defaultdict(set)
    of_text: dict[str, str] = {}
    for row in lines(data / "clusters/banking77_dev.jsonl"):
        names[folded(row["text"])].add(row["cluster"])
        of_text[row["text"].strip()] = row["cluster"]
    clusters: dict[str, list[Prompt]] = defaultdict(list)
    for text, name in of_text.items():
        if len(names[folded(text)]) == 1:
            clusters[f"banking77:{name}"].append(Prompt(text, f"banking77:{name}", "banking77"))
    return {label: tuple(prompts) for label, prompts in clusters.items()}
