"""The decision over a request's candidates: of short texts at once, of long ones on the thread for long work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from semcache.decision import Decider, Unservable
from semcache.long_work import LongWork
from semcache.model import Candidate, Decision, KeyedRequest, Vector

Decide = Callable[[KeyedRequest, Sequence[Candidate], Vector, Unservable], Decision]
"""A method of `Decider` that judges candidates, nearest first."""
_ASKED_WEIGHT = 4
"""Reading a character of the request takes as long as comparing four of a candidate, whose reading is stored."""
_LONG_CHARS = 2_000
"""Characters, so weighed, that take up to two milliseconds if their text is chosen to be slow."""


class Judging:
    """Judges candidates without holding up the event loop."""

    def __init__(self, decider: Decider, long_work: LongWork) -> None:
        """Prepare it over the decider, which any thread may ask."""
        self._decider = decider
        self._long_work = long_work

    async def judge(
        self,
        decide: Decide,
        keyed: KeyedRequest,
        candidates: Sequence[Candidate],
        vector: Vector,
        unservable: Unservable,
    ) -> Decision:
        """Return the decision that `decide` makes of the other arguments; it suspends only where the texts are long.

        `unservable` is asked here, on the event loop, whose state it may read.
        """
        stored_chars = sum([len(candidate.entry.text) for candidate in candidates])
        if _ASKED_WEIGHT * len(keyed.text) + stored_chars <= _LONG_CHARS:
            return decide(keyed, candidates, vector, unservable)
        reasons = {id(candidate.entry): unservable(candidate.entry) for candidate in candidates}
        return await self._long_work.run(
            keyed.request.tenant, lambda: decide(keyed, candidates, vector, lambda entry: reasons[id(entry)])
        )

    async def read_ahead(self, keyed: KeyedRequest) -> None:
        """Read a long text on the thread, so that the decider finds it read."""
        if _ASKED_WEIGHT * len(keyed.text) > _LONG_CHARS:
            await self._long_work.run(keyed.request.tenant, lambda: self._decider.read(keyed.text))
