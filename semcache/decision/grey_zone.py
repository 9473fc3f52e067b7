"""The grey zone: candidates that only their score keeps from being served, and what the judge says of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from semcache.model import FLOAT_SLACK, Decision, Judgement

MAX_JUDGED = 5
"""Candidates in one question: as many as `decision.k` has by default. Numbers up to 9 are one token each."""
JUDGED_SAME = "judged_same"
"""The reason of a candidate that is served since the judge says that its answer serves the request."""
JUDGED_OTHER = "judged_other"
"""The reason where the judge says that no candidate's answer serves the request."""
JUDGE_UNSURE = "judge_unsure"
"""The reason where the judge names a candidate with too low a probability."""
JUDGE_UNCLEAR = "judge_unclear"
"""The reason where the judge's reply is none of the digits that it may reply with."""
JUDGE_LATE = "judge_late"
"""The reason where the judge didn't reply in time."""
JUDGE_FAILED = "judge_failed"
"""The reason where the judge couldn't be asked, or gave no reply."""
JUDGE_BUSY = "judge_busy"
"""The reason where too many questions are under way."""
JUDGE_PENDING = "judge_pending"
"""The reason that Explain gives where the judge would be asked."""


def grey_zone(
    decision: Decision, from_similarity: float, callers_threshold: float | None = None
) -> tuple[Judgement, ...]:
    """Return the judgements on the candidates that a judge may decide about, nearest first, at most `MAX_JUDGED`.

    These are not barred, no guard vetoes them, their similarity is high enough, and their score is below the threshold.
    There is none where a candidate is served. Where the caller named a threshold, nothing whose score is below it may
    be served, also where the server's own threshold is higher and counts.

    Args:
        decision: what guards and policy say; its candidates were judged down to `from_similarity`.
        from_similarity: the least similarity that is worth a question.
        callers_threshold: the score that the caller asked for; None: none.
    """
    if decision.served is not None:
        return ()
    least = -math.inf if callers_threshold is None else callers_threshold - FLOAT_SLACK
    zone = [
        judgement
        for judgement in decision.judgements
        if judgement.score is not None
        and least <= judgement.score < decision.threshold - FLOAT_SLACK
        and judgement.candidate.similarity >= from_similarity
        and not judgement.barred
        and not judgement.is_vetoed
    ]
    return tuple(zone[:MAX_JUDGED])


def with_served(decision: Decision, entry_id: int, probability: float | None) -> Decision:
    """Return the decision with the candidate of an entry served, since the judge says so.

    Args:
        decision: serves none.
        entry_id: the entry's id; it is a candidate's.
        probability: the judge's, that its answer serves the request; None where it told none.
    """
    return _judged_anew(decision, {entry_id: probability}, JUDGED_SAME, served=True)


def with_refused(
    decision: Decision, asked: Sequence[Judgement], reason: str, probabilities: Mapping[int, float | None]
) -> Decision:
    """Return the decision with the reason why the judge lets none of the candidates be served.

    Args:
        decision: serves none.
        asked: its judgements that the judge was asked about.
        reason: why none of them is served, a stable token.
        probabilities: the judge's, that an answer serves the request, by entry id, as far as it told them.
    """
    ids = [judgement.candidate.entry.entry_id for judgement in asked]
    return _judged_anew(decision, {entry_id: probabilities.get(entry_id) for entry_id in ids}, reason, served=False)


def _judged_anew(
    decision: Decision, probabilities: Mapping[int, float | None], reason: str, *, served: bool
) -> Decision:
    """Return the decision with another judgement on the candidates whose entry ids have a place in `probabilities`."""
    judgements = tuple(
        replace(judgement, served=served, reason=reason, probability=probabilities[judgement.candidate.entry.entry_id])
        if judgement.candidate.entry.entry_id in probabilities
        else judgement
        for judgement in decision.judgements
    )
    return replace(decision, judgements=judgements, reason=reason)
