"""What labels say about the threshold: every threshold with and without guards, the one they prove, and by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semcache.errors import InvalidRequestError
from semcache.evaluation.statistics.bootstrap import percentiles, resample
from semcache.evaluation.tune.choosing import Budget, Choice, choose
from semcache.evaluation.tune.comparing import Compared
from semcache.evaluation.tune.curves import Mix, Point, curve, distinct_thresholds
from semcache.evaluation.tune.judging import Judged, judge
from semcache.evaluation.tune.money import Worth
from semcache.evaluation.tune.specs import Spec

_LEAST = 2
_TABLE_STEP = 0.01
_TABLE = tuple(round(number * _TABLE_STEP, 2) for number in (*range(100, 85, -1), *range(85, 45, -5)))
"""Thresholds of a table: close together where it matters."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the labels.

    Attributes:
        budget: how many wrong answers per hit served may be, and how surely.
        mix: how pairs stand for requests.
        cost_of_wrong_usd: what one wrong answer costs.
        current: the setting in force; its guards are those that are tried, its threshold is shown beside.
    """

    budget: Budget
    mix: Mix
    cost_of_wrong_usd: float
    current: Spec


@dataclass(frozen=True, slots=True)
class Variant:
    """One set of guards over all pairs: `points` of every distinct threshold, highest first."""

    name: str
    guards: tuple[str, ...]
    judged: Judged
    points: tuple[Point, ...]

    @property
    def title(self) -> str:
        """Its name with its guards."""
        return f"{self.name} ({', '.join(self.guards)})" if self.guards else self.name


@dataclass(frozen=True, slots=True)
class Part:
    """The pairs of one namespace or task type, under the guards in force.

    `point` is what its own proven threshold serves, `general` what that of all pairs serves; None where none is proven.
    """

    field: str
    name: str
    pairs: int
    choice: Choice
    point: Point | None
    general: Point | None


@dataclass(frozen=True, slots=True)
class Tuning:
    """All that a set of labels says.

    Attributes:
        question: what was asked.
        guarded: under the guards in force.
        unguarded: without any; the same object where none are in force.
        choice: what the labels prove, under the guards in force.
        chosen: what the proven threshold serves; None where none is proven.
        current: what the setting in force serves.
        parts: namespaces, then task types; empty where the data names none.
        worth: what answers are worth, and on what basis.
        groups: how many independent groups the pairs form.
    """

    question: Question
    guarded: Variant
    unguarded: Variant
    choice: Choice
    chosen: Point | None
    current: Point
    parts: tuple[Part, ...]
    worth: Worth
    groups: int

    @property
    def variants(self) -> tuple[Variant, ...]:
        """With guards and without, or the one that there is."""
        return (self.guarded,) if self.unguarded is self.guarded else (self.guarded, self.unguarded)

    def table_points(self, variant: Variant) -> tuple[Point, ...]:
        """The points of round thresholds, of the proven one and of the one in force, highest first."""
        lowest = min((point.threshold for point in variant.points), default=1.0)
        extra = [point.threshold for point in (self.chosen, self.current) if point is not None]
        wanted = sorted({*(step for step in _TABLE if step >= lowest - _TABLE_STEP), *extra}, reverse=True)
        points = _points(variant.judged, wanted, self.question, self.worth.usd)
        return _with_resampled(points, variant.judged, self.question.mix)


def tune(
    compared: Sequence[Compared],
    worth: Worth,
    question: Question,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Tuning:
    """Judge the pairs with and without guards, and choose.

    Args:
        compared: labelled pairs whose similarity is known.
        worth: of those pairs, in their order.
        question: what is asked.
        on_progress: told how many pairs have been judged since the last call; twice as many as there are in all.

    Raises:
        InvalidRequestError: TOO_FEW_LABELS: too few pairs, or only of one label.
    """
    _check(compared)
    decision = question.current.decision
    judged = judge(compared, question.current.decider, on_progress)
    bare_spec = Spec("guards off", decision.model_copy(update={"guards": ()}))
    bare = judge(compared, bare_spec.decider, on_progress)
    thresholds = distinct_thresholds(judged, bare)
    guarded = Variant(
        "guards on" if decision.guards else "guards off",
        decision.guards,
        judged,
        _points(judged, thresholds, question, worth.usd),
    )
    unguarded = guarded
    if decision.guards:
        unguarded = Variant("guards off", (), bare, _points(bare, thresholds, question, worth.usd))
    choice = choose(judged, question.budget, question.mix)
    chosen = _proven_point(judged, choice, question, worth.usd)
    if chosen is not None:
        (chosen,) = _with_resampled([chosen], judged, question.mix)
    (current,) = _with_resampled(_points(judged, [decision.threshold], question, worth.usd), judged, question.mix)
    return Tuning(
        question=question,
        guarded=guarded,
        unguarded=unguarded,
        choice=choice,
        chosen=chosen,
        current=current,
        parts=tuple(
            part for field in ("namespace", "task_type") for part in _parts(judged, worth, question, field, choice)
        ),
        worth=worth,
        groups=len({item.pair.sampled_with for item in compared}),
    )


def _check(compared: Sequence[Compared]) -> None:
    same = sum(item.pair.same for item in compared)
    hint = "Label more pairs, or report more verdicts on hits (ReportVerdict)."
    if len(compared) < _LEAST:
        raise InvalidRequestError(
            f"There are {len(compared)} labelled pairs, and a threshold can't be chosen from fewer than {_LEAST}.",
            reason="TOO_FEW_LABELS",
            hint=hint,
        )
    if not same:
        raise InvalidRequestError(
            f"None of the {len(compared):,} labelled pairs shares an answer: what should be served is unknown.",
            reason="TOO_FEW_LABELS",
            hint="Add pairs whose answers are the same (same = 1).",
        )


def _points(
    judged: Judged, thresholds: Sequence[float] | NDArray[np.float64], question: Question, usd: NDArray[np.float64]
) -> tuple[Point, ...]:
    return curve(judged, thresholds, mix=question.mix, usd=usd, cost_of_wrong_usd=question.cost_of_wrong_usd)


def _parts(judged: Judged, worth: Worth, question: Question, field: str, general: Choice) -> list[Part]:
    names = [str(getattr(item.pair, field)) for item in judged.pairs]
    parts = []
    for name in sorted(set(names) - {""}):
        chosen = np.array([other == name for other in names])
        part = judged.part(chosen)
        choice = choose(part, question.budget, question.mix)
        point, at_general = (_proven_point(part, one, question, worth.usd[chosen]) for one in (choice, general))
        parts.append(Part(field, name, len(part.pairs), choice, point, at_general))
    return parts


def _proven_point(judged: Judged, choice: Choice, question: Question, usd: NDArray[np.float64]) -> Point | None:
    if choice.proven is None:
        return None
    (point,) = _points(judged, [choice.proven.threshold], question, usd)
    return point


def _with_resampled(points: Sequence[Point], judged: Judged, mix: Mix) -> tuple[Point, ...]:
    """The points with the cluster bootstrap's interval of wrong per hit served, where that is the right one.

    It is where pairs depend on each other, or stand for unequal parts of the requests. With none or all wrong it has
    nothing to vary, and Wilson's stays.
    """
    groups = [item.pair.sampled_with for item in judged.pairs]
    if mix.trap_share is None and len(set(groups)) == len(groups):
        return tuple(points)
    weights = mix.weights(judged.same)
    served = np.stack([judged.served(point.threshold) for point in points], axis=1)
    wrong = served & ~judged.same[:, None]
    resampled = resample(np.concatenate([wrong, served], axis=1) * weights[:, None], groups)
    return tuple(
        replace(point, wrong_interval=percentiles(resampled.ratio(number, len(points) + number)))
        if point.hits and point.traps
        else point
        for number, point in enumerate(points)
    )
