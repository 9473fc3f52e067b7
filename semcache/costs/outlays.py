"""Running means of what answers take, by alias, in dollars and seconds. They say whether a question is worth it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

_WEIGHT = 0.05
"""The weight of the newest answer once there are 20: the mean follows a change of model within some 50 answers."""
_SHARE_WEIGHT = 0.02
"""The weight of the newest answer in a share, once there are 48: each of fewer has the weight of Laplace's rule."""
_FADING = 0.002
"""The part of the way back to .5 that a share takes for each question that isn't asked: 100 take a fifth of it."""
_MAX_ALIASES = 4096
"""Aliases with means. Callers make up models where a route takes any, so the number is bounded."""


class Outlay(NamedTuple):
    """What an upstream call takes: nanodollars and seconds."""

    nanousd: float
    seconds: float


@dataclass(slots=True)
class _Mean:
    nanousd: float = 0.0
    seconds: float = 0.0
    count: int = 0

    def add(self, nanousd: float, seconds: float) -> None:
        self.count += 1
        weight = max(_WEIGHT, 1 / self.count)
        self.nanousd += weight * (nanousd - self.nanousd)
        self.seconds += weight * (seconds - self.seconds)


class OutlayMeans:
    """Mean cost and time of the answers that were paid since the start, by the alias that was asked for."""

    def __init__(self) -> None:
        self._means: dict[str, _Mean] = {}

    def note(self, alias: str, outlay: Outlay) -> None:
        """Count an answer that was paid; one without a known price costs 0 here, since no amount is known."""
        if alias not in self._means and len(self._means) >= _MAX_ALIASES:
            self._means.clear()
        self._means.setdefault(alias, _Mean()).add(*outlay)

    def mean(self, alias: str) -> Outlay | None:
        """Return what an answer of an alias takes; None where none was paid since the start."""
        mean = self._means.get(alias)
        return None if mean is None else Outlay(mean.nanousd, mean.seconds)


class Share:
    """The share of yes among the latest answers to a question; .5 before the first."""

    def __init__(self) -> None:
        self.value = 0.5
        """The share, 0 to 1."""
        self._count = 0

    def add(self, is_yes: bool) -> None:  # noqa: FBT001 - the value itself
        """Count an answer; the latest 50 weigh most."""
        self._count += 1
        self.value += max(_SHARE_WEIGHT, 1 / (self._count + 2)) * (is_yes - self.value)

    def fade(self) -> None:
        """Forget a little, towards .5: a question that isn't asked for long may have another answer by now."""
        self.value += _FADING * (0.5 - self.value)


def is_worth(answer: Outlay, question: Outlay, chance: float, nanousd_per_s: float) -> bool:
    """Return whether a question that may spare an upstream's answer is worth what it takes.

    It is where what a yes spares, less the question, times the chance of a yes exceeds the question times the chance of
    a no. That is the same as: the spared answer times the chance of a yes exceeds the question.

    Args:
        answer: what the upstream's answer takes.
        question: what the question takes.
        chance: the probability of a yes, 0 to 1.
        nanousd_per_s: what a second is worth, nanodollars.
    """
    spared = answer.nanousd + nanousd_per_s * answer.seconds
    taken = question.nanousd + nanousd_per_s * question.seconds
    return chance * (spared - taken) > (1 - chance) * taken
