"""What to do about it, in words and as TOML: the setting that the labels prove, and what they can't say."""

from __future__ import annotations

import json
from collections import Counter

from semcache.evaluation.statistics.bounds import lower_bound
from semcache.evaluation.tune.comparing import Relation
from semcache.evaluation.tune.tuning import Part, Tuning

_UNUSUAL = 0.8
"""Paraphrases have a median cosine of .94, a changed number .96: below this even unlike requests are served."""


def summary(tuning: Tuning) -> str:
    """The result in one sentence."""
    budget, chosen = tuning.question.budget, tuning.chosen
    limit = f"{100 * budget.max_wrong_ratio:g} %"
    if chosen is None or tuning.choice.proven is None:
        return f"No threshold is proven to keep within {limit} wrong answers per hit served. {tuning.choice.reason}"
    return (
        f"At {chosen.threshold:g} with guards {_guards_in_words(tuning)}, at most {limit} of served hits are wrong at "
        f"{budget.confidence:.0%} confidence ({tuning.choice.proven.wrong:,} of {tuning.choice.proven.served:,} were "
        f"here), {chosen.hit_ratio:.1%} of these requests are served, and ${chosen.net_usd:,.4f} per 1,000 are saved."
    )


def as_toml(tuning: Tuning) -> str:
    """The setting to paste into semcache.toml; empty where nothing is proven."""
    proven = tuning.choice.proven
    overrides = [part for part in tuning.parts if _differs(part, tuning)]
    if proven is None and not overrides:
        return ""
    lines = ["[decision]"]
    if proven is not None:
        lines.append(f"threshold = {proven.threshold:g}")
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
    """What has to be kept in mind, a sentence each."""
    told = []
    pairs = len(tuning.guarded.judged.pairs)
    traps = int((~tuning.guarded.judged.same).sum())
    if from_store:
        told.append(
            "Only what was served is known: nothing is said about thresholds below those in force when it was, and "
            "callers may report wrong answers more often than right ones."
        )
    elif tuning.question.mix.trap_share is None:
        told.append(
            f"Pairs of a labelled set are not traffic: {traps / pairs:.0%} of these are traps. With --trap-share the "
            "figures stand for traffic in which so many requests meet a near miss."
        )
    else:
        told.append(
            f"Reweighted: near-miss traps are {tuning.question.mix.trap_share:.0%} of requests (in the labels "
            f"{traps / pairs:.0%}); the pairs that are counted stay as they are."
        )
    if not from_store:
        told.append("Hit ratio and dollars are of requests that have such a candidate; others are misses anyway.")
    if tuning.groups < pairs:
        told.append(
            f"The {pairs:,} pairs form {tuning.groups:,} groups that share a cluster or a stored text. The bound takes "
            "them for independent; the intervals in the tables don't."
        )
    apart = Counter(item.reason for item in tuning.guarded.judged.pairs if item.relation is Relation.APART)
    if apart:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in apart.most_common())
        told.append(f"{apart.total():,} pairs are never compared, whatever the threshold: {reasons}.")
    if tuning.current.exact:
        told.append(f"{tuning.current.exact:,} pairs are one request to the cache and served exactly, also at 1.")
    if tuning.chosen is not None and tuning.chosen.threshold < _UNUSUAL:
        told.append(
            f"{tuning.chosen.threshold:g} is unusually low: the traps of these labels are easy ones, and traffic has "
            "harder ones. Read the wrong hits most alike (--report), and label near misses, before you use it."
        )
    told.append(f"Dollars are {tuning.worth.basis}.")
    told += [_exceeding(part, tuning) for part in tuning.parts if _exceeds(part, tuning)]
    if len(tuning.parts) > 1:
        told.append(
            "Each namespace's and task type's threshold holds at the confidence for itself, not for all at once."
        )
    return tuple(told)


def _differs(part: Part, tuning: Tuning) -> bool:
    """Whether a part has a proven threshold of its own that is better for it than that of all.

    Lower ones serve more. A higher one counts only where a lower one failed: else the part's pairs merely end there.
    """
    proven, general = part.choice.proven, tuning.choice.proven
    if proven is None or general is None:
        return proven is not None
    return proven.threshold < general.threshold or (
        proven.threshold > general.threshold and part.choice.failed is not None
    )


def _exceeds(part: Part, tuning: Tuning) -> bool:
    """Whether the threshold of all pairs surely breaks the budget here, at the same confidence."""
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
        f"The {name} is worse than the rest: {at.traps:,} of {served:,} hits served at {at.threshold:g} are wrong, "
        f"more than {limit}. Give it a higher threshold of its own."
    )


def _guards_in_words(tuning: Tuning) -> str:
    return " and ".join(tuning.question.current.decision.guards) or "off"


def _quoted(text: str) -> str:
    # TOML's basic strings are JSON's, but for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
