"""Tunes the threshold on labels: all thresholds with and without guards, the proven one, and one for each part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semcache.errors import InvalidRequestError
from semcache.evaluation.statistics.bootstrap import percentiles, resample
from semcache.evaluation.tune.choosing import ThresholdChoice, WrongBudget, choose
from semcache.evaluation.tune.comparing import ComparedPair
from semcache.evaluation.tune.curves import Mix, Point, curve, distinct_thresholds
from semcache.evaluation.tune.evidence import evidence_at
from semcache.evaluation.tune.folds import OutOfFold, cross_validate, with_held_shortfall, withheld
from semcache.evaluation.tune.money import Worth
from semcache.evaluation.tune.pair_scores import (
    Requests,
    ScoredRequests,
    one_candidate_each,
    score_pairs,
    score_requests,
)
from semcache.evaluation.tune.specs import Spec
from semcache.evaluation.tune.units import Units, units_of

_MIN_PAIRS = 2
_TABLE_STEP = 0.01
_TABLE = tuple(round(number * _TABLE_STEP, 2) for number in (*range(100, 85, -1), *range(85, 45, -5)))
"""The thresholds of a table: in steps of 0.01 where thresholds are useful, of 0.05 below."""


@dataclass(frozen=True, slots=True)
class Question:
    """The question that the labels are to answer.

    Attributes:
        budget: the budget of wrong answers that a threshold must keep.
        mix: how pairs stand for requests.
        cost_of_wrong_usd: dollars that one wrong answer costs.
        current: the setting in force. Its guards are applied; its threshold is shown for comparison.
    """

    budget: WrongBudget
    mix: Mix
    cost_of_wrong_usd: float
    current: Spec


@dataclass(frozen=True, slots=True)
class Variant:
    """All requests under one set of guards.

    Attributes:
        name: "guards on" or "guards off".
        guards: the guards' names.
        scored: the requests' rows.
        points: a point for every distinct threshold, highest first.
    """

    name: str
    guards: tuple[str, ...]
    scored: ScoredRequests
    points: tuple[Point, ...]

    @property
    def title(self) -> str:
        """The variant's name, followed by its guards."""
        return f"{self.name} ({', '.join(self.guards)})" if self.guards else self.name


@dataclass(frozen=True, slots=True)
class Part:
    """The pairs of one namespace or task type, under the guards in force.

    Attributes:
        field: "namespace" or "task_type".
        name: the namespace's or task type's name.
        pairs: the number of its candidates.
        choice: the threshold that these pairs prove.
        point: what that threshold serves; None if none is proven.
        general: what the proven threshold of all pairs serves of these; None if none is proven.
    """

    field: str
    name: str
    pairs: int
    choice: ThresholdChoice
    point: Point | None
    general: Point | None


@dataclass(frozen=True, slots=True)
class Tuning:
    """The result of tuning.

    Attributes:
        question: the question.
        guarded: the requests under the guards in force.
        unguarded: the requests without guards; the object `guarded` itself if no guards are in force.
        choice: the threshold that the labels prove under the guards in force.
        chosen: what that threshold serves; None if none is proven.
        current: what the setting in force serves.
        parts: the namespaces, then the task types; empty if the data names none.
        worth: the dollars that each pair saves, and on what basis.
        units: the units of the guarded rows.
        out_of_fold: what the same way of choosing serves of units that it hasn't seen.
        pairs: the number of distinct pairs that were compared.
    """

    question: Question
    guarded: Variant
    unguarded: Variant
    choice: ThresholdChoice
    chosen: Point | None
    current: Point
    parts: tuple[Part, ...]
    worth: Worth
    units: Units
    out_of_fold: OutOfFold
    pairs: int

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The pairs with guards and without; only one variant if no guards are in force."""
        return (self.guarded,) if self.unguarded is self.guarded else (self.guarded, self.unguarded)

    def table_points(self, variant: Variant) -> tuple[Point, ...]:
        """Return points of round thresholds, of the proven threshold and of the one in force, highest first."""
        lowest = min((point.threshold for point in variant.points), default=1.0)
        extra = [point.threshold for point in (self.chosen, self.current) if point is not None]
        wanted = sorted({*(step for step in _TABLE if step >= lowest - _TABLE_STEP), *extra}, reverse=True)
        units = self.units if variant is self.guarded else units_of([item.pair for item in variant.scored.pairs])
        points = _points(variant.scored, wanted, self.question, self.worth.usd)
        return _with_intervals(points, variant.scored, units, self.question)


def tune(
    compared: Sequence[ComparedPair],
    worth: Worth,
    question: Question,
    on_progress: Callable[[int], None] = lambda _: None,
    requests: Requests | None = None,
) -> Tuning:
    """Score the pairs with and without guards, and choose a threshold.

    Args:
        compared: labelled pairs whose similarity is known.
        worth: the dollars that each pair saves, in the order of `compared`.
        question: the question to answer.
        on_progress: called with the number of pairs scored since its last call; each pair is scored twice.
        requests: the requests whose candidates these pairs are; None: each pair is a request with one candidate.

    Raises:
        InvalidRequestError: TOO_FEW_LABELS: there are too few pairs, or none that share an answer.
    """
    _check(compared)
    requests = requests or one_candidate_each(len(compared))
    decision = question.current.decision
    scored = score_requests(score_pairs(compared, question.current.decider, on_progress), requests)
    bare_spec = Spec("guards off", decision.model_copy(update={"guards": ()}))
    bare = score_requests(score_pairs(compared, bare_spec.decider, on_progress), requests)
    thresholds = distinct_thresholds(scored, bare)
    guarded = Variant(
        "guards on" if decision.guards else "guards off",
        decision.guards,
        scored,
        _points(scored, thresholds, question, worth.usd),
    )
    unguarded = guarded
    if decision.guards:
        unguarded = Variant("guards off", (), bare, _points(bare, thresholds, question, worth.usd))
    units = units_of([item.pair for item in scored.pairs])
    out_of_fold = cross_validate(scored, units, question.budget, question.mix)
    choice = withheld(choose(scored, units, question.budget, question.mix), out_of_fold)
    choice = with_held_shortfall(choice, scored, units, question.mix)
    chosen = _proven_point(scored, choice, question, worth.usd)
    if chosen is not None:
        (chosen,) = _with_intervals([chosen], scored, units, question)
    current = _points(scored, [decision.threshold], question, worth.usd)
    return Tuning(
        question=question,
        guarded=guarded,
        unguarded=unguarded,
        choice=choice,
        chosen=chosen,
        current=_with_intervals(current, scored, units, question)[0],
        parts=tuple(
            _part((field, name), scored.part(rows), units.part(rows), (worth, question, choice))
            for field, name, rows in _named_parts(scored)
        ),
        worth=worth,
        units=units,
        out_of_fold=out_of_fold,
        pairs=len(compared),
    )


def _check(compared: Sequence[ComparedPair]) -> None:
    same = sum(item.pair.same for item in compared)
    hint = "Label more pairs, or report more verdicts on hits (ReportVerdict)."
    if len(compared) < _MIN_PAIRS:
        raise InvalidRequestError(
            f"There are {len(compared)} labelled pairs, and a threshold can't be chosen from fewer than {_MIN_PAIRS}.",
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
    scored: ScoredRequests,
    thresholds: Sequence[float] | NDArray[np.float64],
    question: Question,
    usd: NDArray[np.float64],
) -> tuple[Point, ...]:
    """Return points; `usd` is of distinct pairs, shape (pairs,)."""
    return curve(
        scored, thresholds, mix=question.mix, usd=usd[scored.numbers], cost_of_wrong_usd=question.cost_of_wrong_usd
    )


def _named_parts(scored: ScoredRequests) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield the field, the name and the rows of each namespace, then of each task type."""
    for field in ("namespace", "task_type"):
        names = np.array([str(getattr(item.pair, field)) for item in scored.pairs])
        for name in sorted(set(names.tolist()) - {""}):
            yield field, name, names == name


def _part(
    named: tuple[str, str],
    scored: ScoredRequests,
    units: Units,
    tuned: tuple[Worth, Question, ThresholdChoice],
) -> Part:
    """Return what the rows of a namespace or task type prove, beside the choice for all rows."""
    worth, question, general = tuned
    budget, mix = question.budget, question.mix
    choice = withheld(choose(scored, units, budget, mix), cross_validate(scored, units, budget, mix))
    point, at_general = (_proven_point(scored, each, question, worth.usd) for each in (choice, general))
    return Part(*named, len(scored.pairs), choice, point, at_general)


def _proven_point(
    scored: ScoredRequests, choice: ThresholdChoice, question: Question, usd: NDArray[np.float64]
) -> Point | None:
    if choice.proven is None:
        return None
    (point,) = _points(scored, [choice.proven.threshold], question, usd)
    return point


def _with_intervals(
    points: Sequence[Point], scored: ScoredRequests, units: Units, question: Question
) -> tuple[Point, ...]:
    """Return the points, with the bound by units, and the cluster bootstrap's interval where Wilson's doesn't hold.

    Wilson's doesn't hold if requests depend on each other, or stand for unequal parts of all. If none or all of the
    served ones are wrong, a bootstrap has nothing to vary, and Wilson's stays.
    """
    at = np.array([point.threshold for point in points])
    order = np.argsort(-at, kind="stable")
    upper = np.empty(len(points))
    upper[order] = evidence_at(at[order], scored, units, question.mix).upper(question.budget.level)
    bounded = [replace(point, wrong_upper=float(bound)) for point, bound in zip(points, upper, strict=True)]
    if question.mix.trap_share is None and len(np.unique(units.asked)) == len(scored.pairs):
        return tuple(bounded)
    weights = question.mix.weights(scored)
    served = np.stack([scored.served(point.threshold) for point in points], axis=1)
    wrong = served & ~scored.same[:, None]
    resampled = resample(np.concatenate([wrong, served], axis=1) * weights[:, None], units.asked.tolist())
    return tuple(
        replace(point, wrong_interval=percentiles(resampled.ratio(number, len(points) + number)))
        if point.hits and point.traps
        else point
        for number, point in enumerate(bounded)
    )
