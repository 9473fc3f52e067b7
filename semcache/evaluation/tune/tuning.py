"""Tunes the threshold on labels: all thresholds with and without guards, the proven one, and one for each part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semcache.errors import InvalidRequestError
from semcache.evaluation.statistics.bootstrap import percentiles, resample
from semcache.evaluation.tune.choosing import ThresholdChoice, WrongBudget, choose
from semcache.evaluation.tune.comparing import ComparedPair
from semcache.evaluation.tune.curves import Mix, Point, curve, distinct_thresholds
from semcache.evaluation.tune.money import Worth
from semcache.evaluation.tune.pair_scores import ScoredPairs, score_pairs
from semcache.evaluation.tune.specs import Spec

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
    """All pairs under one set of guards.

    Attributes:
        name: "guards on" or "guards off".
        guards: the guards' names.
        scored: the scored pairs.
        points: a point for every distinct threshold, highest first.
    """

    name: str
    guards: tuple[str, ...]
    scored: ScoredPairs
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
        pairs: the number of pairs.
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
        guarded: the pairs under the guards in force.
        unguarded: the pairs without guards; the object `guarded` itself if no guards are in force.
        choice: the threshold that the labels prove under the guards in force.
        chosen: what that threshold serves; None if none is proven.
        current: what the setting in force serves.
        parts: the namespaces, then the task types; empty if the data names none.
        worth: the dollars that each pair saves, and on what basis.
        groups: the number of independent groups of pairs.
    """

    question: Question
    guarded: Variant
    unguarded: Variant
    choice: ThresholdChoice
    chosen: Point | None
    current: Point
    parts: tuple[Part, ...]
    worth: Worth
    groups: int

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The pairs with guards and without; only one variant if no guards are in force."""
        return (self.guarded,) if self.unguarded is self.guarded else (self.guarded, self.unguarded)

    def table_points(self, variant: Variant) -> tuple[Point, ...]:
        """Return points of round thresholds, of the proven threshold and of the one in force, highest first."""
        lowest = min((point.threshold for point in variant.points), default=1.0)
        extra = [point.threshold for point in (self.chosen, self.current) if point is not None]
        wanted = sorted({*(step for step in _TABLE if step >= lowest - _TABLE_STEP), *extra}, reverse=True)
        points = _points(variant.scored, wanted, self.question, self.worth.usd)
        return _with_resampled(points, variant.scored, self.question.mix)


def tune(
    compared: Sequence[ComparedPair],
    worth: Worth,
    question: Question,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Tuning:
    """Score the pairs with and without guards, and choose a threshold.

    Args:
        compared: labelled pairs whose similarity is known.
        worth: the dollars that each pair saves, in the order of `compared`.
        question: the question to answer.
        on_progress: called with the number of pairs scored since its last call; each pair is scored twice.

    Raises:
        InvalidRequestError: TOO_FEW_LABELS: there are too few pairs, or none that share an answer.
    """
    _check(compared)
    decision = question.current.decision
    scored = score_pairs(compared, question.current.decider, on_progress)
    bare_spec = Spec("guards off", decision.model_copy(update={"guards": ()}))
    bare = score_pairs(compared, bare_spec.decider, on_progress)
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
    choice = choose(scored, question.budget, question.mix)
    chosen = _proven_point(scored, choice, question, worth.usd)
    if chosen is not None:
        (chosen,) = _with_resampled([chosen], scored, question.mix)
    (current,) = _with_resampled(_points(scored, [decision.threshold], question, worth.usd), scored, question.mix)
    return Tuning(
        question=question,
        guarded=guarded,
        unguarded=unguarded,
        choice=choice,
        chosen=chosen,
        current=current,
        parts=tuple(
            part for field in ("namespace", "task_type") for part in _parts(scored, worth, question, field, choice)
        ),
        worth=worth,
        groups=len({item.pair.sampled_with for item in compared}),
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
    scored: ScoredPairs, thresholds: Sequence[float] | NDArray[np.float64], question: Question, usd: NDArray[np.float64]
) -> tuple[Point, ...]:
    return curve(scored, thresholds, mix=question.mix, usd=usd, cost_of_wrong_usd=question.cost_of_wrong_usd)


def _parts(scored: ScoredPairs, worth: Worth, question: Question, field: str, general: ThresholdChoice) -> list[Part]:
    names = [str(getattr(item.pair, field)) for item in scored.pairs]
    parts = []
    for name in sorted(set(names) - {""}):
        chosen = np.array([other == name for other in names])
        part = scored.part(chosen)
        choice = choose(part, question.budget, question.mix)
        point, at_general = (_proven_point(part, each, question, worth.usd[chosen]) for each in (choice, general))
        parts.append(Part(field, name, len(part.pairs), choice, point, at_general))
    return parts


def _proven_point(
    scored: ScoredPairs, choice: ThresholdChoice, question: Question, usd: NDArray[np.float64]
) -> Point | None:
    if choice.proven is None:
        return None
    (point,) = _points(scored, [choice.proven.threshold], question, usd)
    return point


def _with_resampled(points: Sequence[Point], scored: ScoredPairs, mix: Mix) -> tuple[Point, ...]:
    """Return the points, with the cluster bootstrap's interval of wrong answers where Wilson's doesn't hold.

    Wilson's doesn't hold if pairs depend on each other, or stand for unequal parts of the requests. If none or all
    served pairs are wrong, a bootstrap has nothing to vary, and Wilson's stays.
    """
    groups = [item.pair.sampled_with for item in scored.pairs]
    if mix.trap_share is None and len(set(groups)) == len(groups):
        return tuple(points)
    weights = mix.weights(scored.same)
    served = np.stack([scored.served(point.threshold) for point in points], axis=1)
    wrong = served & ~scored.same[:, None]
    resampled = resample(np.concatenate([wrong, served], axis=1) * weights[:, None], groups)
    return tuple(
        replace(point, wrong_interval=percentiles(resampled.ratio(number, len(points) + number)))
        if point.hits and point.traps
        else point
        for number, point in enumerate(points)
    )
