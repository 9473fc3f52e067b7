"""Play vCache's method, written from its paper (Schroeder et al., arXiv 2502.03771); nothing is taken from its code.

Each entry has a logistic model of P(correct | similarity s) = 1 / (1 + exp(-γ (s - t))), fitted on what was observed
of it: (s, whether its answer was right) of the requests that it was nearest to and that were asked upstream
nevertheless. A bound α on that probability at s holds with confidence 1 - ε for the parameters that the observations
don't refute, (1 - ε) · min over them. With the ε that makes α largest, the request is asked upstream ("explored") with
the probability τ = 1 - δ / (1 - α), or 0 where α ≥ 1 - δ: then at most δ of requests are wrong.

The paper leaves open how the region of parameters is made. Here it is the one-sided profile likelihood region (signed
root, asymptotically normal) over a grid of (t, γ), which stands also where the observations are separable and no
maximum exists; every ε is tried where the paper's code has a coarse grid, in the method's favour. So is that an
explored prompt is stored only if the nearest answer was wrong for it: observations gather at one entry an answer.

The authors' published code starts each entry with two invented observations: a wrong answer at similarity 0 and a right
one at similarity 1, and explores until it has six, so after four real ones. `start=INVENTED` does so. The bound holds
for requests that were observed. Two that nobody observed raise it, most of all near 1: the paper's guarantee is void.

Its weaknesses, as published: errors are counted per request, not per hit, so a stream that mostly misses may have hits
that are mostly wrong; what is far from everything is still served with probability δ; only the nearest entry is looked
at (k = 1); every entry starts cold, equal texts included, and learns from explorations alone, each of which is paid
upstream; a model is refitted whenever its entry learns.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.hit_rate.playing import MISS, Served
from benchmarks.hit_rate.world import World


@dataclass(frozen=True, slots=True)
class Start:
    """How an entry starts.

    Attributes:
        invented: what the entry is told that it observed, as (similarity, whether its answer was right).
        fewest: observations, the invented ones included, below which it is always explored.
    """

    invented: tuple[tuple[float, bool], ...]
    fewest: int


OBSERVED = Start((), 2)
"""The paper's start: an entry knows nothing."""
INVENTED = Start(((0.0, False), (1.0, True)), 6)
"""The published code's start."""
_T, _GAMMA = np.meshgrid(np.linspace(-0.2, 1.4, 81), np.geomspace(2.0, 256.0, 15), indexing="ij")
_T, _GAMMA = _T.ravel(), _GAMMA.ravel()
_DEVIANCES = np.linspace(0.0, 20.0, 2001)
_DOUBT = np.array([0.5 * math.erfc(math.sqrt(deviance)) for deviance in _DEVIANCES])
"""ε of the one-sided region of parameters whose log-likelihood is less than so much below the greatest one."""
Floats = NDArray[np.float64]


@dataclass(slots=True)
class EntryModel:
    """The model of one entry: the log-likelihood of each pair of parameters, summed over its observations."""

    fewest: int = 2
    observations: int = 0
    _likelihood: Floats = field(default_factory=lambda: np.zeros(len(_T)))
    _ordered: tuple[NDArray[np.int64], Floats] | None = None

    def observe(self, similarity: float, *, correct: bool) -> None:
        """Add a request that was asked upstream: whether this entry, its nearest, had the right answer."""
        margin = _GAMMA * (similarity - _T)
        self._likelihood -= np.logaddexp(0.0, -margin if correct else margin)
        self.observations += 1
        self._ordered = None

    def bound(self, similarity: float) -> float:
        """Return α: P(correct) at `similarity` is at least α."""
        if self._ordered is None:
            short = self._likelihood.max() - self._likelihood
            order = np.argsort(short)
            # The region that ends before the next parameters has the doubt that these would bring.
            self._ordered = order, 1.0 - np.interp(np.append(short[order[1:]], _DEVIANCES[-1]), _DEVIANCES, _DOUBT)
        order, confidence = self._ordered
        chances = 1.0 / (1.0 + np.exp(-_GAMMA[order] * (similarity - _T[order])))
        return float((confidence * np.minimum.accumulate(chances)).max())

    def explore(self, similarity: float, delta: float) -> float:
        """Return τ, the probability of asking upstream, so that at most `delta` of the requests are wrong."""
        if self.observations < self.fewest:
            return 1.0
        alpha = self.bound(similarity)
        return 0.0 if alpha >= 1.0 - delta else 1.0 - delta / (1.0 - alpha)


def started(start: Start) -> EntryModel:
    """Return the model of a new entry."""
    model = EntryModel(fewest=start.fewest)
    for similarity, correct in start.invented:
        model.observe(similarity, correct=correct)
    return model


def play_verified(
    world: World,
    asked: Sequence[int],
    delta: float,
    seed: int,
    *,
    exact_tier: bool,
    start: Start = OBSERVED,
) -> Served:
    """Play requests through the method; explorations are misses.

    Args:
        world: the prompts.
        asked: by number, in order.
        delta: at most that share of requests may be wrong.
        seed: of the explorations.
        exact_tier: whether texts that were answered upstream before are served before the method is asked; the paper
            has no such tier.
        start: how each entry starts: OBSERVED or INVENTED.
    """
    chance = random.Random(f"verified/{delta}/{seed}")
    models: dict[int, EntryModel] = {}
    stored = np.zeros(len(world.prompts), np.bool_)
    served = np.full(len(asked), MISS)
    answered: set[int] = set()
    for place, number in enumerate(asked):
        if exact_tier and number in answered:
            served[place] = number
            continue
        row = world.ranked[number]
        held = stored[row]
        if models:
            nearest = int(row[held.argmax()])
            similarity = float(world.similarities[number, nearest])
            model = models[nearest]
            if chance.random() >= model.explore(similarity, delta):
                served[place] = nearest
                continue
            correct = bool(world.labels[nearest] == world.labels[number])
            model.observe(similarity, correct=correct)
            if correct:
                answered.add(number)
                continue
        answered.add(number)
        if not stored[number]:
            stored[number] = True
            models[number] = started(start)
    return served
