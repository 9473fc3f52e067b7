"""Small worlds of made-up prompts, on a circle: the cosine of two is that of their angles' difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.hit_rate.prompts import Prompt
from benchmarks.hit_rate.world import World
from semcache.decision import Decider
from semcache.settings import DecisionSettings


def world(prompts: Sequence[Prompt], degrees: Sequence[float]) -> World:
    vectors = np.array([[math.cos(math.radians(one)), math.sin(math.radians(one))] for one in degrees], np.float32)
    settings = DecisionSettings()
    return World(prompts, vectors, Decider(settings))
