"""Make streams of requests: clusters drawn by Zipf's law among prompts that must miss and traps; and few repeats."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.hit_rate.prompts import Corpus, Prompt

Requests = tuple[Prompt, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """A named stream of requests in its first order."""

    name: str
    requests: Requests

    @property
    def repeats(self) -> float:
        """Return the share of requests whose answer an earlier one had: the hit ratio of a cache that knows all."""
        return 1 - len({request.label for request in self.requests}) / len(self.requests)

    def orders(self, shuffles: int) -> list[Requests]:
        """Return the first order and `shuffles` other orders, the same in every run."""
        orders = [self.requests]
        for number in range(1, shuffles + 1):
            shuffled = list(self.requests)
            random.Random(f"{self.name}/{number}").shuffle(shuffled)
            orders.append(tuple(shuffled))
        return orders


def zipf(corpus: Corpus, exponent: float, requests: int, seed: int) -> Stream:
    """Return each must-miss prompt and each side of the pairs once; other `requests` are draws from clusters.

    The cluster of rank r comes with a probability in proportion to r^-exponent (which has which rank is drawn), its
    texts with equal ones, so that a text may come again.
    """
    chance = random.Random(f"zipf/{exponent}/{seed}")
    once = [*corpus.unique, *corpus.paired]
    names = sorted(corpus.clusters)
    chance.shuffle(names)
    weights = [rank**-exponent for rank in range(1, len(names) + 1)]
    drawn = chance.choices(names, weights, k=max(requests - len(once), requests // 2))
    chosen = [*once, *(chance.choice(corpus.clusters[name]) for name in drawn)]
    chance.shuffle(chosen)
    return Stream(f"zipf {exponent}", tuple(chosen))


def low_repeat(corpus: Corpus, repeats: float, seed: int) -> Stream:
    """Return one prompt of each answer, traps among them, and second ones up to the share `repeats` of all."""
    chance = random.Random(f"low/{seed}")
    trapping = {text for sides in corpus.traps for text in sides}
    of_label: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in (*corpus.paired, *(prompt for some in corpus.clusters.values() for prompt in some)):
        of_label[prompt.label].append(prompt)
    firsts: list[Prompt] = list(corpus.unique)
    seconds: list[Prompt] = []
    for prompts in of_label.values():
        chance.shuffle(prompts)
        prompts.sort(key=lambda prompt: prompt.text not in trapping)
        firsts.append(prompts[0])
        seconds += prompts[1:2]
    chosen = [*firsts, *_some(seconds, int(repeats * len(firsts)), chance)]
    chance.shuffle(chosen)
    return Stream("low repeat", tuple(chosen))


def _some(prompts: Sequence[Prompt], count: int, chance: random.Random) -> list[Prompt]:
    return chance.sample(prompts, min(count, len(prompts)))
