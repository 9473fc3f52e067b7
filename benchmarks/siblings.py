"""Serve questions from stored ones as the shipped decision does, without a server: the nearest that passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semcache.decision import Decider, Reading
from semcache.model import Effect

_NEAREST = 5


def served_places(
    decider: Decider, threshold: float, stored: Sequence[str], asked: Sequence[str], similarities: NDArray[np.float32]
) -> list[int | None]:
    """Return for each asked text the place of the stored one whose answer is served; None for a miss.

    Args:
        decider: the guards.
        threshold: the score that a candidate needs.
        stored: the texts of the entries.
        asked: the texts that are looked up.
        similarities: their cosines, shape (asked, stored).
    """
    readings = [Reading(decider.features(text)) for text in stored]

    def serve(text: str, row: NDArray[np.float32]) -> int | None:
        reading = decider.read(text)
        for place in np.argsort(-row)[:_NEAREST]:
            score, verdicts = decider.compare_readings(reading, readings[place], float(row[place]))
            if score >= threshold and all(verdict.effect is not Effect.VETO for verdict in verdicts):
                return int(place)
        return None

    return [serve(text, row) for text, row in zip(asked, similarities, strict=True)]
