"""Compare the distinct prompts of a part of the data: cosines, nearest neighbours, the guards' scores of pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.hit_rate.prompts import Prompt
from semcache.decision import Decider, Reading
from semcache.model import is_vetoed

SLACK = 1e-6
"""Cosines of equal vectors come out as 0.9999999."""


class World:
    """Prompts by number; nothing here depends on the order of requests, so every run shares it."""

    def __init__(self, prompts: Sequence[Prompt], vectors: NDArray[np.float32], decider: Decider) -> None:
        """`vectors`: unit rows of the prompts' texts, shape (prompts, dimension)."""
        self.prompts = tuple(prompts)
        names = {label: number for number, label in enumerate(dict.fromkeys(p.label for p in prompts))}
        self.labels = np.array([names[prompt.label] for prompt in prompts])
        self.similarities = vectors @ vectors.T
        self.ranked = np.argsort(-self.similarities, axis=1, kind="stable").astype(np.int32)
        self._descending = np.take_along_axis(self.similarities, self.ranked, axis=1)
        self._numbers = {prompt.text: number for number, prompt in enumerate(prompts)}
        self._decider = decider
        self._within: dict[float, list[NDArray[np.int32]]] = {}
        self._readings: dict[int, Reading] = {}
        self._scores: dict[int, float] = {}

    def numbers(self, requests: Sequence[Prompt]) -> list[int]:
        """Return the numbers of the requests' prompts."""
        return [self._numbers[request.text] for request in requests]

    def within(self, similarity: float) -> list[NDArray[np.int32]]:
        """Return, for each prompt, the prompts that are at least that similar, nearest first, itself among them."""
        if similarity not in self._within:
            counts = (self._descending >= similarity - SLACK).sum(axis=1)
            self._within[similarity] = [row[:count] for row, count in zip(self.ranked, counts, strict=True)]
        return self._within[similarity]

    def score(self, asked: int, stored: int) -> float:
        """Return the cosine with the guards' adjustments, minus infinity for a vetoed pair; compare each pair once."""
        key = asked * len(self.prompts) + stored
        score = self._scores.get(key)
        if score is None:
            similarity = float(self.similarities[asked, stored])
            score, verdicts = self._decider.compare_readings(self._reading(asked), self._reading(stored), similarity)
            if is_vetoed(verdicts):
                score = -np.inf
            self._scores[key] = score
        return score

    @property
    def pairs_compared(self) -> int:
        return len(self._scores)

    def _reading(self, number: int) -> Reading:
        if number not in self._readings:
            self._readings[number] = Reading(self._decider.features(self.prompts[number].text))
        return self._readings[number]
