"""What the judge has said of pairs of a request and an entry, kept so that an equal request doesn't pay again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from semcache.decision import JUDGE_UNSURE, JUDGED_OTHER, JUDGED_SAME
from semcache.fair_memory import FairMemory
from semcache.model import Judgement, KeyedRequest
from semcache.upstream import JudgeReply

_MAX_OPINIONS = 16_384
"""Pairs that are remembered, some 200 bytes each: 3 MB."""
_PAIR_BYTES = 200


@dataclass(frozen=True, slots=True)
class Opinion:
    """The judge's opinion on one pair.

    Attributes:
        reason: what came of the question, a stable token; with `judged_same` the entry's answer may be served.
        probability: that it serves the request; None where the judge told none.
    """

    reason: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class JudgeOutcome:
    """What came of a question.

    Attributes:
        reason: a stable token; `judged_same` where an entry may be served.
        entry_id: of that entry; 0 for none.
        probabilities: the judge's, by entry id, as far as it told them.
        is_fault: whether the judge's upstream failed; where a budget has no room, say, it didn't.
    """

    reason: str
    entry_id: int = 0
    probabilities: Mapping[int, float | None] = field(default_factory=dict)
    is_fault: bool = False


def outcome_of_reply(reply: JudgeReply, entry_ids: Sequence[int], least_probability: float) -> JudgeOutcome:
    """Return what a reply means for the candidates that were shown.

    Args:
        reply: the judge's number, with the probabilities that it told.
        entry_ids: of the candidates, in the order of their numbers from 1 on.
        least_probability: what the judge must give a candidate for it to be served.
    """
    # A number that isn't among the likeliest tokens has no probability worth telling.
    unlisted = 0.0 if reply.probabilities else None
    probabilities = {
        entry_id: reply.probabilities.get(number, unlisted) for number, entry_id in enumerate(entry_ids, 1)
    }
    if reply.number == 0:
        return JudgeOutcome(JUDGED_OTHER, 0, probabilities)
    entry_id = entry_ids[reply.number - 1]
    probability = probabilities[entry_id]
    if probability is not None and probability < least_probability:
        return JudgeOutcome(JUDGE_UNSURE, 0, probabilities)
    return JudgeOutcome(JUDGED_SAME, entry_id, probabilities)


class Opinions:
    """Remembers opinions by exact key and entry id. They end with the process, and never become an exact key."""

    def __init__(self) -> None:
        """Begin without any."""
        self._memory: FairMemory[tuple[bytes, int], Opinion] = FairMemory(
            max_items=_MAX_OPINIONS, max_bytes=_MAX_OPINIONS * _PAIR_BYTES
        )

    def __len__(self) -> int:
        """Return how many pairs are remembered."""
        return len(self._memory)

    def of(self, keyed: KeyedRequest, judgement: Judgement) -> Opinion | None:
        """Return the opinion on a request and a candidate; None where the judge has none."""
        return self._memory.use((keyed.exact_key, judgement.candidate.entry.entry_id))

    def keep(self, keyed: KeyedRequest, entry_ids: Sequence[int], outcome: JudgeOutcome) -> None:
        """Keep what an outcome says of the candidates that were shown.

        Where one may be served, it says nothing of the others: the judge names one alone.
        """
        named = (outcome.entry_id,) if outcome.entry_id else entry_ids
        for entry_id in named:
            opinion = Opinion(outcome.reason, outcome.probabilities.get(entry_id))
            self._memory.put(keyed.request.tenant, (keyed.exact_key, entry_id), opinion, _PAIR_BYTES)
