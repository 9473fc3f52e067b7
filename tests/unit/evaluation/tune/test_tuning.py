"""A whole tuning: the proven threshold, parts, TOML that the server accepts, and notes."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.pairs import BACKGROUND, LabelledPair, user
from semcache.evaluation.tune.advising import as_toml, notes, summary
from semcache.evaluation.tune.choosing import Shortfall, ThresholdChoice, WrongBudget
from semcache.evaluation.tune.comparing import ComparedPair, Relation
from semcache.evaluation.tune.curves import Mix, curve
from semcache.evaluation.tune.evidence import ThresholdTest, evidence_at
from semcache.evaluation.tune.folds import OutOfFold, withheld, withheld_shortfall
from semcache.evaluation.tune.money import Worth
from semcache.evaluation.tune.pair_scores import Requests, ScoredPairs, score_requests
from semcache.evaluation.tune.specs import Spec
from semcache.evaluation.tune.tuning import Question, Tuning, tune
from semcache.evaluation.tune.units import units_of
from semcache.settings import DecisionSettings, Settings


def item(
    number: int, similarity: float | None, *, same: bool, namespace: str = "", task_type: str = ""
) -> ComparedPair:
    stored, asked = f"stored {number:b}", f"stored {number:b}"
    pair = LabelledPair(str(number), user(stored), user(asked), same, "k", namespace=namespace, task_type=task_type)
    relation = Relation.EXACT if similarity is None else Relation.COMPARED
    return ComparedPair(pair, relation, asked, stored, similarity)


def tuned(items: list[ComparedPair], *, mix: Mix | None = None, guards: tuple[str, ...] = ("numbers",)) -> Tuning:
    question = Question(WrongBudget(), mix or Mix(), 0.0, Spec("in force", DecisionSettings(guards=guards)))
    progress: list[int] = []
    result = tune(items, Worth(np.full(len(items), 0.001), 0, "known"), question, progress.append)
    assert sum(progress) == 2 * len(items)
    return result


def test_a_proven_threshold_is_pasted_and_said() -> None:
    result = tuned(
        [item(n, 0.95, same=True) for n in range(800)] + [item(800 + n, 0.8, same=False) for n in range(180)]
    )
    assert result.chosen is not None
    assert (result.chosen.threshold, result.chosen.hits, result.chosen.traps) == (0.95, 800, 0)
    assert as_toml(result, "") == '[decision]\nthreshold = 0.95\nguards = ["numbers"]\n'
    assert 'tuned_for = "mini 12 openvino fp32"' in as_toml(result, "mini 12 openvino fp32")
    assert 'set embedding.precision = "fp32"' in as_toml(result, "mini 12 openvino fp32")
    assert summary(result).startswith(
        "At 0.95 with guards numbers, at most 1 % of as many further hits are wrong at 95%"
    )
    assert "Here 0 of 800 were. In none of 5 folds" in summary(result)
    assert "$0.8163 per 1,000" in summary(result)
    assert any("18% of these candidates are traps" in note for note in notes(result, from_store=False))
    assert [point.threshold for point in result.guarded.points] == [0.95, 0.8]


def test_namespaces_that_differ_are_overrides_that_the_server_takes() -> None:
    name = 'help "desk" 😀 \\ \x7f'
    items = [item(n, 0.95, same=True, namespace="a") for n in range(900)]
    items += [item(1000 + n, 0.9, same=True, namespace=name, task_type="chat") for n in range(900)]
    items += [item(2000 + n, 0.94, same=False, namespace="a") for n in range(40)]
    result = tuned(items)
    pasted = tomllib.loads(as_toml(result, ""))
    assert pasted["decision"]["threshold"] == 0.95
    assert pasted["decision"]["overrides"] == [
        {"namespace": name, "threshold": 0.9},
        {"task_type": "chat", "threshold": 0.9},
    ]
    settings = Settings(**pasted)
    assert settings.decision.overrides[0].namespace == name
    assert any("for itself, not for all at once" in note for note in notes(result, from_store=False))


def test_a_part_whose_pairs_merely_end_higher_needs_no_override() -> None:
    items = [item(n, 0.95, same=True, namespace="a") for n in range(900)]
    items += [item(1000 + n, 0.96, same=True, namespace="b") for n in range(900)]
    result = tuned(items)
    assert [part.choice.proven and part.choice.proven.threshold for part in result.parts] == [0.95, 0.96]
    assert "overrides" not in as_toml(result, "")


def test_a_part_that_needs_a_higher_threshold_gets_it() -> None:
    items = [item(n, 0.95, same=True, namespace="a") for n in range(4000)]
    items += [item(5000 + n, 0.97, same=True, namespace="b") for n in range(900)]
    items += [item(6000 + n, 0.95, same=False, namespace="b") for n in range(20)]
    pasted = tomllib.loads(as_toml(tuned(items), ""))["decision"]
    assert pasted["threshold"] == 0.95
    assert pasted["overrides"] == [{"namespace": "b", "threshold": 0.97}]


def test_a_namespace_that_surely_breaks_the_budget_is_named() -> None:
    items = [item(n, 0.95, same=True, namespace="good") for n in range(3000)]
    items += [item(5000 + n, 0.95, same=n >= 8, namespace="bad") for n in range(30)]
    sentences = notes(tuned(items), from_store=False)
    assert any("The namespace 'bad' is worse than the rest: 8 of 30 hits" in note for note in sentences)


def test_an_unusually_low_threshold_is_warned_of() -> None:
    items = [item(n, 0.6, same=True) for n in range(900)] + [item(1500, 0.1, same=False)]
    assert any("0.6 is unusually low" in note for note in notes(tuned(items), from_store=False))


def test_pairs_that_never_meet_are_told_of() -> None:
    apart = ComparedPair(
        LabelledPair("x", user("a"), user("b"), same=False, kind="k"), Relation.APART, "b", "a", reason="personal"
    )
    sentences = notes(tuned([item(1, 0.9, same=True), item(2, None, same=True), apart, apart]), from_store=False)
    assert "2 pairs are never compared, whatever the threshold: personal 2." in sentences
    assert any(note.startswith("1 pairs are one request to the cache") for note in sentences)


def test_nothing_proven_is_nothing_to_paste() -> None:
    result = tuned([item(n, 0.95, same=n > 0) for n in range(10)])
    assert result.chosen is None
    assert as_toml(result, "") == ""
    assert "No threshold is proven to keep within 1 %" in summary(result)
    assert "At every threshold more than 1 % of the hits are wrong here, so more labels won't help." in summary(result)
    assert result.choice.shortfall is not None


def test_without_guards_there_is_one_variant() -> None:
    result = tuned([item(n, 0.95, same=True) for n in range(3)], guards=())
    assert [variant.name for variant in result.variants] == ["guards off"]
    assert len(tuned([item(n, 0.95, same=True) for n in range(3)]).variants) == 2


def test_pairs_that_share_a_stored_text_are_one_unit_prove_little_and_widen_the_interval() -> None:
    items = [item(n % 20, 0.95, same=True) for n in range(4000)] + [item(0, 0.95, same=False)] * 5
    result = tuned(items)
    assert result.units.count == 20
    assert any("20 independent groups of connected texts" in note for note in notes(result, from_store=False))
    assert result.chosen is None, "4,000 pairs of 20 units say as much as some 20 of them"
    (row,) = [point for point in result.table_points(result.guarded) if point.threshold == 0.95]
    assert row.wrong_interval is not None
    low, high = row.wrong_interval
    # Wilson's would end at .0029. All five wrong pairs lie in one of twenty units, which is drawn up to four times.
    assert low == 0.0
    assert high > 0.0032
    assert row.wrong_upper is not None
    assert row.wrong_upper > 0.2


def test_a_cross_validation_that_contradicts_withholds_the_threshold() -> None:
    choice = ThresholdChoice(ThresholdTest(0.9, 900, 1, 0.009, 900), None, 50, WrongBudget(), None, "Because.")
    kept = withheld(choice, OutOfFold(5, 4, 700, 6, 0.9, 0.91))
    assert kept is choice
    refused = withheld(choice, OutOfFold(5, 4, 700, 8, 0.9, 0.91))
    assert (refused.proven, refused.failed) == (None, choice.proven)
    assert "made 1.1 % wrong answers in that fifth" in refused.reason
    assert withheld(choice, OutOfFold(5, 0, 0, 0, None, None)) is choice


def test_a_cross_validation_that_contradicts_another_budget_withholds_it() -> None:
    result = tuned([item(n, 0.95, same=True) for n in range(400)])
    shortfall = Shortfall(0.02, ThresholdTest(0.95, 400, 0, 0.02, 400), 260)
    assert result.choice.shortfall is not None
    assert result.choice.shortfall.limit == 0.02
    choice = replace(result.choice, shortfall=shortfall)
    assert withheld_shortfall(choice, OutOfFold(5, 4, 700, 14, 0.9, 0.91)) is choice
    refused = withheld_shortfall(choice, OutOfFold(5, 4, 700, 21, 0.9, 0.91))
    assert refused.shortfall == Shortfall(None, None, 260)
    assert "They do prove" not in refused.reason
    assert "made 3.0 % wrong answers in that fifth" in refused.reason


def test_a_vetoed_hit_that_meets_other_traffic_stays_among_all_hits() -> None:
    other = replace(item(99, 0.6, same=False).pair, stored_group=BACKGROUND)
    items = (*(item(n, 0.95, same=n < 10) for n in range(20)), ComparedPair(other, Relation.COMPARED, "a", "b", 0.6))
    scores = np.array([0.95] * 5 + [-np.inf] * 5 + [0.95] + [0.3] * 9 + [0.6])
    same = np.array([n < 10 for n in range(21)])
    candidates = np.array([(n, 20 if 5 <= n < 10 else -1) for n in range(20)])
    scored = score_requests(
        ScoredPairs(tuple(items), scores, same, ((),) * 21), Requests(candidates, np.ones(len(candidates)))
    )
    (at,) = curve(scored, [0.9], mix=Mix(0.5), usd=np.zeros(len(scored.scores)), cost_of_wrong_usd=0.0)
    # Five of ten hits and one of ten traps are served, in equal parts of traffic.
    assert at.hit_ratio == pytest.approx(0.5 * 0.5 + 0.5 * 0.1)
    assert at.wrong_share == pytest.approx(0.05 / 0.3)
    evidence = evidence_at(np.array([0.9]), scored, units_of([pair.pair for pair in scored.pairs]), Mix(0.5))
    assert evidence.rates is not None
    hits, traps, _ = evidence.rates
    assert hits.events[0] / hits.trials[0] == pytest.approx(0.5)
    assert traps.events[0] / traps.trials[0] == pytest.approx(0.1)
    assert scored.part(np.ones(len(scored.scores), np.bool_)).requests == 20


def test_a_trap_share_moves_the_interval_with_the_share() -> None:
    result = tuned([item(n, 0.95, same=n >= 40) for n in range(4000)], mix=Mix(0.2))
    (row,) = [point for point in result.table_points(result.guarded) if point.threshold == 0.95]
    assert row.wrong_share == pytest.approx(0.2)
    assert row.wrong_interval is not None
    low, high = row.wrong_interval
    # The count of forty traps varies by sqrt(40) in a resample, so a share of one fifth varies by about .026.
    assert 0.13 < low < 0.17
    assert 0.23 < high < 0.27


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([], "There are 0 labelled pairs"),
        ([item(1, 0.9, same=True)], "There are 1 labelled pairs"),
        ([item(n, 0.9, same=False) for n in range(5)], "None of the 5 labelled pairs shares an answer"),
    ],
)
def test_too_few_labels(items: list[ComparedPair], problem: str) -> None:
    with pytest.raises(InvalidRequestError, match=problem) as caught:
        tuned(items)
    assert caught.value.hint


def test_the_store_and_a_trap_share_have_notes_of_their_own() -> None:
    items = [item(n, 0.95, same=n > 5) for n in range(50)]
    assert any("Only what was served is known" in note for note in notes(tuned(items), from_store=True))
    sentences = notes(tuned(items, mix=Mix(0.2)), from_store=False)
    assert any("traps are 20% of requests" in note for note in sentences)
    assert any("The bound is on the rates in the long run" in note for note in sentences)
    proven = tuned(
        [item(n, 0.95, same=True) for n in range(900)] + [item(n + 900, 0.3, same=False) for n in range(2000)],
        mix=Mix(0.05),
    )
    assert "of hits are wrong in the long run at 95% confidence" in summary(proven)
    assert "further hits" not in summary(proven)
