"""Measure what routing adds to a miss, in this process: task type, route, target, breakers and retry budget.

`python -m benchmarks.routing [--json]`; microseconds per call, the median of rounds with the quartiles beside it. The
exchange with the target isn't part of it. The clock moves on with each call, so that the sliding windows move too.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from benchmarks.in_process import run
from semcache.errors import UpstreamError
from semcache.model import Cacheability, KeyedRequest, Request, Tier
from semcache.request import Tasks
from semcache.settings import TaskSettings, UpstreamSettings
from semcache.upstream.fleet import Fleet
from semcache.upstream.modes import DegradedMode
from semcache.upstream.retry_budget import RetryBudget
from semcache.upstream.routes import RouteTable, without
from semcache.upstream.tries import Tries

KINDS = ("one target", "three targets, two fallbacks", "one of three dead", "one fails, another answers", "by exemplar")
LIMIT_US = 50.0
CALLS_PER_S = 500.0
DOWN = UpstreamError("down", http_status=503)
SETTINGS = UpstreamSettings.model_validate(
    {
        "targets": [{"name": name, "base_url": f"http://{name}.test/v1"} for name in "abcd"],
        "routes": [
            {"alias": "*", "target": "d"},
            {"alias": "small", "target": "a"},
            {
                "alias": "big",
                "task_type": "code",
                "targets": [{"target": "a", "weight": 3}, {"target": "b"}, {"target": "c"}],
                "fallbacks": ["small", {"alias": "mini", "degraded": True}],
                "degraded": "mini",
            },
            {"alias": "mini", "target": "d"},
            {"alias": "shaky", "target": "a", "fallbacks": ["mini"]},
        ],
        "degraded": {
            "enabled": True,
            "error_rate_enter": 0.9,
            "error_rate_leave": 0.5,
            "p95_enter_s": 99.0,
            "p95_leave_s": 9.0,
        },
    }
)
TASKS = TaskSettings.model_validate(
    {
        "rules": [
            {"task_type": "search", "pattern": r"\b(who|when) (was|is|did)\b"},
            {"task_type": "reasoning", "pattern": r"\b(prove|derive|step by step|how many|probability)\b"},
            {"task_type": "code", "pattern": r"```|\b(python|javascript|rust|sql|regex|function|compile)\b"},
        ],
        "complexity": [
            {"complexity": "high", "min_chars": 1_500},
            {"complexity": "high", "pattern": r"\b(design|refactor|debug|compare|trade-?offs?|why)\b"},
        ],
        "exemplars": [{"task_type": "support", "texts": [f"exemplar {number}" for number in range(32)]}],
    }
)
VECTORS = np.random.default_rng(0).standard_normal((32, 384)).astype(np.float32)
KEYED = KeyedRequest(
    request=Request("default", b"{}"),
    alias="big",
    exact_key=bytes(32),
    partition=bytes(32),
    older_partitions=(),
    text="Words that no rule knows come first, about a parser and its grammar: " * 3 + "compare it in rust, please.",
    cacheability=Cacheability(Tier.SEMANTIC, "cacheable"),
    prompt_chars=900,
    output_limit=None,
    include_usage=False,
)
TOLERANT = SETTINGS.model_copy(
    update={
        "retry": SETTINGS.retry.model_copy(update={"budget_ratio": 1.0}),
        "breaker": SETTINGS.breaker.model_copy(update={"failures": 10**9, "min_samples": 10**9}),
    }
)
"""Under which a target may fail every call and is asked again: what a try beyond the first costs."""


class Routing:
    """The router's shared state; calls go through it one after the other."""

    def __init__(
        self, alias: str, failing: str = "", settings: UpstreamSettings = SETTINGS, *, by_exemplar: bool = False
    ) -> None:
        self._alias = alias
        self._tasks = Tasks(TASKS, VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True))
        self._vector = VECTORS[7] / np.float32(np.linalg.norm(VECTORS[7])) if by_exemplar else None
        self._failing = failing
        self._now_s = 0.0
        self._retry = settings.retry
        self._routes = RouteTable(settings)
        self._fleet = Fleet((target.name for target in settings.targets), settings.breaker)
        self._budget = RetryBudget(settings.retry)
        self._mode = DegradedMode(settings.degraded)
        self._rng = random.Random(0)

    def call(self) -> None:
        self._now_s = now_s = self._now_s + 1 / CALLS_PER_S
        task = self._tasks.by_rule(KEYED)
        if self._vector is not None:
            task = self._tasks.by_exemplar(KEYED, self._vector)
        degraded = "mini_model" in self._mode.current(now_s).measures
        plan = self._routes.resolve(self._alias, task.task_type, task.complexity, degraded=degraded)
        tries = Tries(
            without(plan, frozenset()),
            now_s + 300.0,
            fleet=self._fleet,
            budget=self._budget,
            settings=self._retry,
            rng=self._rng,
        )
        place = tries.next(now_s).destination
        tries.begin(place, now_s)
        if place.target == self._failing:
            tries.failed(DOWN, now_s)
            tries.begin(tries.next(now_s).destination, now_s)
        tries.succeeded(now_s)
        self._mode.observe(now_s, 1.3, failed=False)


def cases() -> dict[str, Callable[[], object]]:
    table, tasks = RouteTable(SETTINGS), Tasks(TASKS)
    found = (
        Routing("small"),
        Routing("big"),
        Routing("big", failing="b"),
        Routing("shaky", failing="a", settings=TOLERANT),
        Routing("big", by_exemplar=True),
    )
    return {
        **{kind: routing.call for kind, routing in zip(KINDS, found, strict=True)},
        "(the task type by rule alone)": lambda: tasks.by_rule(KEYED),
        "(the route alone)": lambda: table.resolve("big", "code", "high"),
    }


if __name__ == "__main__":
    run("Routing per call", cases(), dict.fromkeys(KINDS, LIMIT_US), __doc__ or "")
