"""The semantic tier: embed the request, search its partitions, fetch the nearest entries, decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from semcache.coordination import Twins
from semcache.costs.account import Account
from semcache.errors import EmbeddingFailedError
from semcache.model import Candidate, Decision, KeyedRequest, Neighbour, Tier, Vector
from semcache.story.classifying import Classifying
from semcache.story.judging import Judge, Judging
from semcache.story.outcomes import Found, Outcome
from semcache.story.reembedding import Reembedding
from semcache.story.rooms import Rooms
from semcache.story.rules import Servability

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Searched:
    """What the semantic tier found out about a request.

    Attributes:
        keyed: the request, with its task type where an exemplar told it: the threshold may depend on it.
        vector: its embedding, unit length, shape (dimension,); None when it wasn't embedded.
        decision: what may be served of the nearest entries; None when there was nothing to compare with.
    """

    keyed: KeyedRequest
    vector: Vector | None = None
    decision: Decision | None = None

    @property
    def found(self) -> Found | None:
        """The entry to serve, if the decision allows one."""
        if self.vector is None or self.decision is None or self.decision.served is None:
            return None
        return Found(self.decision.served.candidate.entry, self.decision, self.vector)


class Searching:
    """Searches the semantic tier for an entry that a request may be served."""

    def __init__(
        self,
        rooms: Rooms,
        servability: Servability,
        classifying: Classifying,
        judging: Judging,
        twins: Twins[Outcome],
        *,
        reembedding: Reembedding,
    ) -> None:
        """Prepare it; the decision may look at `decision.k` of the nearest entries."""
        self._entries = rooms.store.entries
        self._vectors = rooms.store.vectors
        self._embedder = rooms.embedder
        self._index = rooms.index
        self._decider = rooms.decider
        self._k = rooms.settings.decision.k
        self._servability = servability
        self._classifying = classifying
        self._judging = judging
        self._twins = twins
        self._reembedding = reembedding

    async def search(self, account: Account, keyed: KeyedRequest) -> Searched:
        """Search for an entry to serve; stop judging at the first that may be served.

        A request is embedded only where there is something to compare it with: stored vectors in its partitions, or a
        request in flight there. Vectors of another embedder in its partitions are wanted anew from now on.

        Raises:
            OverloadedError: the embedder or the index takes no more.
        """
        await self._reembedding.want(keyed)
        return await self._judged(account, keyed, self._decider.decide, self._decider.least_similarity)

    async def search_all(self, account: Account, keyed: KeyedRequest) -> Searched:
        """Search, and judge every one of the nearest entries, for people who ask why.

        Raises:
            OverloadedError: the embedder or the index takes no more.
        """
        return await self._judged(account, keyed, self._decider.judge_all, lambda _: -1.0)

    async def classify(self, account: Account, keyed: KeyedRequest) -> Searched:
        """Embed a request that nothing was compared with, where an exemplar may still name its task."""
        if not self._classifying.is_open(keyed):
            return Searched(keyed)
        vector = await self._embed(account, keyed)
        if vector is None:
            return Searched(keyed)
        return Searched(self._classifying.by_exemplar(account, keyed, vector), vector)

    async def _judged(
        self,
        account: Account,
        keyed: KeyedRequest,
        judge: Judge,
        least_similarity: Callable[[KeyedRequest], float],
    ) -> Searched:
        """Search, and judge the neighbours from the similarity that the request, once classified, asks for."""
        searched, neighbours = await self._search(account, keyed)
        if searched.vector is None:
            return searched
        keyed, vector = searched.keyed, searched.vector
        candidates = await self._candidates(neighbours, least_similarity(keyed))
        unservable = partial(self._servability.refusal, keyed)
        decision = await self._judging.judge(judge, keyed, candidates, vector, unservable)
        account.note_decision(decision)
        return Searched(keyed, vector, decision)

    async def _search(self, account: Account, keyed: KeyedRequest) -> tuple[Searched, Sequence[Neighbour]]:
        """Return the request with its vector, if it was embedded, and the nearest entries' ids."""
        if keyed.cacheability.tier is not Tier.SEMANTIC:
            return Searched(keyed), ()
        partitions = [partition for partition in keyed.partitions if await self._vectors.has(partition)]
        if not partitions and not self._twins.of(keyed.partitions):
            return Searched(keyed), ()
        vector = await self._embed(account, keyed)
        if vector is None:
            return Searched(keyed), ()
        keyed = self._classifying.by_exemplar(account, keyed, vector)
        neighbours = [n for partition in partitions for n in await self._index.search(partition, vector, self._k)]
        neighbours.sort(key=lambda neighbour: neighbour.similarity, reverse=True)
        account.lap("search")
        return Searched(keyed, vector), neighbours[: self._k]

    async def _embed(self, account: Account, keyed: KeyedRequest) -> Vector | None:
        """Return the vector that a request waits for; None from a broken model, which costs hits and not answers."""
        try:
            vector: Vector = (await self._embedder.embed([keyed.text]))[0]
        except EmbeddingFailedError as error:
            _log.error("story.embedding_failed", error=str(error))
            return None
        account.embedded += 1
        account.lap("embed")
        return vector

    async def _candidates(self, neighbours: Sequence[Neighbour], least_similarity: float) -> Sequence[Candidate]:
        """Fetch the entries of the neighbours that could be served, and of the next one, which the caller is told of.

        A neighbour whose entry is gone from the store is passed over.
        """
        servable = sum(neighbour.similarity >= least_similarity for neighbour in neighbours)
        candidates = await self._fetch(neighbours[: servable + 1])
        return candidates or await self._fetch(neighbours[servable + 1 :])

    async def _fetch(self, neighbours: Sequence[Neighbour]) -> Sequence[Candidate]:
        if not neighbours:
            return ()
        entries = await self._entries.get_many([neighbour.entry_id for neighbour in neighbours])
        return [Candidate(entries[n.entry_id], n.similarity) for n in neighbours if n.entry_id in entries]
