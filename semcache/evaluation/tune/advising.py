"""Writes the result of tuning as sentences and as TOML: the proven setting, and the limits of the proof."""

from __future__ import annotations

import json
from collections import Counter

from semcache.evaluation.statistics.bounds import lower_bound
from semcache.evaluation.tune.comparing import Relation
from semcache.evaluation.tune.tuning import Part, Tuning

_UNUSUAL = 0.8
"""A cosine. Paraphrases have a median of .94; below this threshold even unlike requests are served."""


def summary(tuning: Tuning) -> str:
    """Return the verdict: what is proven and what the cross-validation says, or what is proven instead."""
    budget, chosen, proven = tuning.question.budget, tuning.chosen, tuning.choice.proven
    limit = f"{100 * budget.max_wrong_ratio:g} %"
    if chosen is None or proven is None:
        return (
            f"No threshold is proven to keep within {limit} wrong answers per hit served. {tuning.choice.reason} "
            f"{out_of_fold(tuning)}"
        )
    promise = f"at most {limit} of as many further hits are wrong"
    if tuning.question.mix.trap_share is not None:
        promise = f"at most {limit} of hits are wrong in the long run"
    return (
        f"At {chosen.threshold:g} with guards {_guards_in_words(tuning)}, {promise} "
        f"at {budget.confidence:.0%} confidence. Here {_count(proven.wrong)} of {_count(proven.served)} were. "
        f"{out_of_fold(tuning)} {chosen.hit_ratio:.1%} of these requests are served, and ${chosen.net_usd:,.4f} per "
        "1,000 are saved."
    )


def out_of_fold(tuning: Tuning) -> str:
    """Return what thresholds that were chosen on other units serve wrongly, as a sentence."""
    result = tuning.out_of_fold
    if not result.recommended:
        return f"In none of {result.folds} folds do the units of the other folds prove a threshold."
    ratio = "" if result.wrong_ratio is None else f" ({100 * result.wrong_ratio:.1f} %)"
    return (
        f"Out of fold {_count(result.wrong)} of {_count(result.served)} hits are wrong{ratio}, at thresholds from "
        f"{result.lowest:g} to {result.highest:g} in {result.recommended} of {result.folds} folds of units."
    )


def as_toml(tuning: Tuning, tuned_for: str) -> str:
    """Return the setting to paste into semcache.toml; it is empty if nothing is proven.

    Args:
        tuning: the result.
        tuned_for: what computed the similarities, so that a server with something else refuses the threshold; empty if
            that is unknown.
    """
    proven = tuning.choice.proven
    overrides = [part for part in tuning.parts if _differs(part, tuning)]
    if proven is None and not overrides:
        return ""
    lines = ["[decision]"]
    if proven is not None:
        lines.append(f"threshold = {proven.threshold:g}")
    if tuned_for:
        precision = _quoted(tuned_for.rsplit(maxsplit=1)[-1])
        lines.append(f"# If the server refuses it for its precision, set embedding.precision = {precision}.")
        lines.append(f"tuned_for = {_quoted(tuned_for)}")
    guards = ", ".join(_quoted(name) for name in tuning.question.current.decision.guards)
    lines.append(f"guards = [{guards}]")
    for part in overrides:
        assert part.choice.proven is not None
        lines += [
            "",
            "[[decision.overrides]]",
            f"{part.field} = {_quoted(part.name)}",
            f"threshold = {part.choice.proven.threshold:g}",
        ]
    return "\n".join(lines) + "\n"


def notes(tuning: Tuning, *, from_store: bool) -> tuple[str, ...]:
    """Return the limits of the result, one note each.

    Args:
        tuning: the result.
        from_store: whether the labels are a server's judged hits.
    """
    sentences = [*_about_labels(tuning, from_store=from_store), *_about_pairs(tuning)]
    if tuning.chosen is not None and tuning.chosen.threshold < _UNUSUAL:
        sentences.append(
            f"{tuning.chosen.threshold:g} is unusually low: the traps of these labels are easy, and traffic has harder "
            "ones. Before you use it, read the wrong hits most alike (--report), and label near misses."
        )
    sentences.append(f"Dollars are {tuning.worth.basis}.")
    sentences += [_exceeding(part, tuning) for part in tuning.parts if _exceeds(part, tuning)]
    if len(tuning.parts) > 1:
        sentences.append(
            "Each namespace's and task type's threshold holds at the confidence for itself, not for all at once."
        )
    return tuple(sentences)


def _about_labels(tuning: Tuning, *, from_store: bool) -> list[str]:
    """Return the notes about how the labels stand for traffic."""
    if from_store:
        return [
            (
                "Only what was served is known: nothing is known about thresholds below those in force at the time, "
                "and callers may report wrong answers more often than right ones."
            ),
            (
                "A store doesn't say under which runtime and precision its hits were compared, so no server holds this "
                "threshold against its own."
            ),
        ]
    scored = tuning.guarded.scored
    traps = f"{float(scored.weights[~scored.same].sum()) / max(float(scored.weights.sum()), 1e-9):.0%}"
    if tuning.question.mix.trap_share is None:
        about = (
            f"Labels are not traffic: {traps} of these candidates are traps. With --trap-share the results stand "
            "for traffic with that share of near misses."
        )
    else:
        about = (
            f"Reweighted: near-miss traps are {tuning.question.mix.trap_share:.0%} of requests (in the "
            f"labels {traps}). The counts of pairs are not reweighted. The bound is on the rates in the long run: a "
            "few further hits may exceed it by chance, and a wrong hit counts against the unit that asked alone."
        )
    return [about]


def _about_pairs(tuning: Tuning) -> list[str]:
    """Return the notes about pairs that depend on each other, are never compared, or are served exactly."""
    units, scored = tuning.units, tuning.guarded.scored
    proof = (
        f"The proof counts {units.count:,} independent {units.basis}, not the {tuning.pairs:,} pairs compared. It "
        "holds for further ones of the same kind."
    )
    sentences = [proof]
    if units.joined:
        sentences.append(f"{units.joined:,} groups share a text with another group and count as one with it.")
    if not (~scored.same).any():
        sentences.append("None of the labels is a trap, so the dependence of wrong hits can't be seen.")
    served = ~scored.labelled() & scored.served((tuning.chosen or tuning.current).threshold)
    if served.any():
        sentences.append(
            f"{_count(float(scored.weights[served].sum()))} of the wrong hits get the answer of a prompt of other "
            "traffic, about which no label says anything. Read them (--report)."
        )
    apart = Counter(item.reason for item in scored.pairs if item.relation is Relation.APART)
    if apart:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in apart.most_common())
        sentences.append(f"{apart.total():,} pairs are never compared, whatever the threshold: {reasons}.")
    if tuning.current.exact:
        sentences.append(
            f"{tuning.current.exact:,.0f} pairs are one request to the cache and served exactly, also at 1."
        )
    return sentences


def _differs(part: Part, tuning: Tuning) -> bool:
    """Return whether a part has a proven threshold that suits it better than the threshold of all pairs.

    A lower threshold serves more. A higher one is better only if a lower one failed its test for this part; otherwise
    the part merely has no pairs below it.
    """
    proven, general = part.choice.proven, tuning.choice.proven
    if proven is None or general is None:
        return proven is not None
    return proven.threshold < general.threshold or (
        proven.threshold > general.threshold and part.choice.failed is not None
    )


def _exceeds(part: Part, tuning: Tuning) -> bool:
    """Return whether, at the budget's confidence, the threshold of all pairs breaks the budget for this part."""
    at, budget = part.general, tuning.question.budget
    if at is None or part.choice.proven is not None:
        return False
    return float(lower_bound(at.traps, at.hits + at.traps, budget.confidence)) > budget.max_wrong_ratio


def _exceeding(part: Part, tuning: Tuning) -> str:
    assert part.general is not None
    at = part.general
    name, served = f"{part.field.replace('_', ' ')} {part.name!r}", at.hits + at.traps
    limit = f"{100 * tuning.question.budget.max_wrong_ratio:g} %"
    return (
        f"The {name} is worse than the rest: {_count(at.traps)} of {_count(served)} hits served at {at.threshold:g} "
        f"are wrong, more than {limit}. Give it a higher threshold of its own."
    )


def _count(number: float) -> str:
    """Return a count; with one decimal if it is the mean over orders and small."""
    return f"{number:,.0f}" if number >= 10 or number == round(number) else f"{number:,.1f}"


def _guards_in_words(tuning: Tuning) -> str:
    return " and ".join(tuning.question.current.decision.guards) or "off"


def _quoted(text: str) -> str:
    # A TOML basic string is a JSON string, except that TOML escapes DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
